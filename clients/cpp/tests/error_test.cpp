#include <finesieve/error.h>
#include <gtest/gtest.h>

#include "error_details.h"

namespace finesieve {
namespace {

using std::chrono::milliseconds;

grpc::Status Busy(const std::string& details) {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "busy", details};
}

TEST(Error, TellsAllThatTheServerDid) {
  const Error error = Error::OfCall(Busy(EncodedDetails()), "of a trailer");

  EXPECT_EQ(error.code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.message(), "busy");
  EXPECT_EQ(error.reason(), "OVERLOADED");
  EXPECT_EQ(error.metadata(), (std::map<std::string, std::string>{{"limit", "7"}}));
  ASSERT_EQ(error.violations().size(), 1u);
  EXPECT_EQ(error.violations()[0].field, "top_k");
  EXPECT_EQ(error.violations()[0].description, "too large");
  EXPECT_EQ(error.retry_delay(), milliseconds(1500));
  EXPECT_EQ(error.request_id(), "r-1");
  EXPECT_EQ(error.status().error_details(), EncodedDetails());
  EXPECT_STREQ(error.what(), "RESOURCE_EXHAUSTED (OVERLOADED): busy");
}

TEST(Error, WithoutDetailsIsItsStatus) {
  const Error error = Error::OfCall(Busy(""), "of a trailer");

  EXPECT_EQ(error.reason(), "");
  EXPECT_FALSE(error.retry_delay());
  EXPECT_EQ(error.request_id(), "of a trailer");
  EXPECT_STREQ(error.what(), "RESOURCE_EXHAUSTED: busy");
}

TEST(Error, IsNotHiddenByGarbageInItsDetails) {
  const std::string details = EncodedDetails();
  for (std::size_t size = 1; size < details.size(); ++size) {
    EXPECT_EQ(Error::OfCall(Busy(details.substr(0, size))).message(), "busy");
  }
  EXPECT_EQ(Error::OfCall(Busy("\xff\xff\xff")).reason(), "");
}

TEST(Error, OfAnUnknownCodeHasAName) {
  EXPECT_STREQ(Error::OfCall({static_cast<grpc::StatusCode>(99), "odd"}).what(), "UNKNOWN: odd");
  EXPECT_STREQ(Error::OfCall({static_cast<grpc::StatusCode>(-1), "odd"}).what(), "UNKNOWN: odd");
}

TEST(Error, OfAFailureNamesItsField) {
  v1::Failure failure;
  failure.set_code(grpc::StatusCode::INVALID_ARGUMENT);
  failure.set_reason("EMPTY_FIELD");
  failure.set_message("is empty");
  failure.set_field("query");
  failure.mutable_retry_delay()->set_seconds(2);

  const Error error = Error::OfFailure(failure);

  EXPECT_STREQ(error.what(), "INVALID_ARGUMENT (EMPTY_FIELD): is empty");
  ASSERT_EQ(error.violations().size(), 1u);
  EXPECT_EQ(error.violations()[0].field, "query");
  EXPECT_EQ(error.retry_delay(), std::chrono::seconds(2));
}

}  // namespace
}  // namespace finesieve
