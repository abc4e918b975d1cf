// Reads google.rpc's details out of a status.
#include <finesieve/error.h>
#include <finesieve/wire/wire.pb.h>

#include <array>
#include <cstddef>

namespace finesieve {

namespace {

constexpr std::array<const char*, 17> kCodeNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

std::string OneLine(const grpc::Status& status, const std::string& reason) {
  const auto code = static_cast<std::size_t>(status.error_code());
  std::string line = code < kCodeNames.size() ? kCodeNames[code] : "UNKNOWN";
  if (!reason.empty()) line += " (" + reason + ")";
  return line + ": " + status.error_message();
}

template <class Duration>
std::chrono::nanoseconds Nanoseconds(const Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}

/// Returns the status' detail of this type, an empty one where it has none. A detail that cannot
/// be read, such as a proxy's garbage, must not hide the error itself.
template <class Message>
Message Detail(const wire::Status& status, const std::string& type) {
  Message message;
  for (const wire::Detail& detail : status.details()) {
    const std::string& url = detail.type_url();
    if (url.substr(url.rfind('/') + 1) != type) continue;
    if (!message.ParseFromString(detail.value())) message.Clear();
    break;
  }
  return message;
}

}  // namespace

Error Error::OfCall(const grpc::Status& status, const std::string& request_id) {
  wire::Status details;
  if (!details.ParseFromString(status.error_details())) details.Clear();
  const auto info = Detail<wire::ErrorInfo>(details, "google.rpc.ErrorInfo");
  const auto request = Detail<wire::BadRequest>(details, "google.rpc.BadRequest");
  const auto retry = Detail<wire::RetryInfo>(details, "google.rpc.RetryInfo");
  const auto names = Detail<wire::RequestInfo>(details, "google.rpc.RequestInfo");

  Error error(status, info.reason());
  error.metadata_ = {info.metadata().begin(), info.metadata().end()};
  for (const auto& violation : request.field_violations()) {
    error.violations_.push_back({violation.field(), violation.description()});
  }
  if (retry.has_retry_delay()) error.retry_delay_ = Nanoseconds(retry.retry_delay());
  error.request_id_ = names.request_id().empty() ? request_id : names.request_id();
  return error;
}

Error Error::OfFailure(const v1::Failure& failure) {
  const auto code = static_cast<grpc::StatusCode>(failure.code());
  Error error(grpc::Status(code, failure.message()), failure.reason());
  if (!failure.field().empty()) {
    error.violations_.push_back({failure.field(), failure.message()});
  }
  if (failure.has_retry_delay()) error.retry_delay_ = Nanoseconds(failure.retry_delay());
  return error;
}

Error::Error(const grpc::Status& status, const std::string& reason)
    : std::runtime_error(OneLine(status, reason)), status_(status), reason_(reason) {}

}  // namespace finesieve
