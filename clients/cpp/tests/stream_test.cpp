#include <finesieve/client.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "server.h"

namespace finesieve {
namespace {

using namespace std::chrono_literals;
using Request = v1::StreamRerankRequest;
using Response = v1::StreamRerankResponse;

/// Answers each request at once: it reads no further while nobody reads its answers.
grpc::Status Echo(grpc::ServerContext&, RerankStream& stream) {
  for (Request request; stream.Read(&request);) {
    Response response;
    response.set_request_id(request.request_id());
    response.mutable_response()->set_model(request.request().query());
    if (!stream.Write(response)) break;
  }
  return {};
}

Request Named(const std::string& id, std::size_t size = 0) {
  Request request;
  request.set_request_id(id);
  request.mutable_request()->set_query(std::string(size, 'x'));
  return request;
}

TEST(Stream, ReadsAnswersOneByOne) {
  Server server({}, Echo);
  Client client(server.target());
  auto stream = client.StreamRerank();

  EXPECT_TRUE(stream.Write(Named("a")));
  EXPECT_EQ(stream.Read()->request_id(), "a");
  stream.WritesDone();

  EXPECT_FALSE(stream.Read());
  EXPECT_FALSE(stream.Read());
}

TEST(Stream, ExchangesMoreThanIsKeptUnderWay) {
  constexpr int kCount = 200;
  Server server({}, Echo);
  Client client(server.target());
  int sent = 0;
  int received = 0;

  client.StreamRerank().Exchange(
      [&]() -> std::optional<Request> {
        if (sent == kCount) return std::nullopt;
        return Named(std::to_string(sent++), 100'000);
      },
      [&](const Response& response) {
        EXPECT_EQ(response.request_id(), std::to_string(received++));
      });

  EXPECT_EQ(received, kCount);
}

TEST(Stream, HasNoDeadline) {
  bool none = false;
  Server server({}, [&](grpc::ServerContext& context, RerankStream&) {
    none = context.deadline() == std::chrono::system_clock::time_point::max();
    return grpc::Status::OK;
  });
  Client client(server.target());
  auto stream = client.StreamRerank();

  EXPECT_FALSE(stream.Read());
  EXPECT_TRUE(none);
}

TEST(Stream, IsCancelledWhereItIsDropped) {
  std::atomic<bool> cancelled = false;
  {
    Server server({}, [&](grpc::ServerContext& context, RerankStream& stream) {
      stream.Write({});
      for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) std::this_thread::sleep_for(5ms);
      cancelled = context.IsCancelled();
      return grpc::Status::OK;
    });
    Client client(server.target());
    auto stream = client.StreamRerank();
    EXPECT_TRUE(stream.Read());
  }
  EXPECT_TRUE(cancelled);
}

TEST(Stream, ThrowsHowItsCallEnded) {
  Server server({}, [](grpc::ServerContext&, RerankStream& stream) -> grpc::Status {
    stream.Write({});
    return {grpc::StatusCode::DATA_LOSS, "damaged"};
  });
  Client client(server.target());
  int received = 0;

  try {
    client.StreamRerank().Exchange([] { return std::make_optional(Named("on and on", 10'000)); },
                                   [&](const Response&) { ++received; });
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "DATA_LOSS: damaged");
  }
  EXPECT_EQ(received, 1);
}

TEST(Stream, EndsWellWhereTheServerEndsItEarly) {
  Server server({}, [](grpc::ServerContext&, RerankStream& stream) {
    Request request;
    stream.Read(&request);
    return grpc::Status::OK;
  });
  Client client(server.target());

  EXPECT_NO_THROW(client.StreamRerank().Exchange(
      [] { return std::make_optional(Named("on and on", 10'000)); }, [](const Response&) {}));
}

TEST(Stream, ThrowsWhatItsRequestsOrItsResponsesThrow) {
  Server server({}, Echo);
  Client client(server.target());
  const auto endless = [] { return std::make_optional(Named("on and on")); };
  const auto broken = []() -> std::optional<Request> { throw std::domain_error("no requests"); };
  const auto full = [](const Response&) { throw std::range_error("no room"); };

  EXPECT_THROW(client.StreamRerank().Exchange(broken, [](const Response&) {}), std::domain_error);
  EXPECT_THROW(client.StreamRerank().Exchange(endless, full), std::range_error);
}

}  // namespace
}  // namespace finesieve
