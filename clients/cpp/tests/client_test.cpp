#include <finesieve/client.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

#include "error_details.h"
#include "server.h"

namespace finesieve {
namespace {

using namespace std::chrono_literals;

grpc::Status Ok(grpc::ServerContext&, const v1::SearchRequest&, v1::SearchResponse&) { return {}; }

/// Waits until the caller has left.
grpc::Status Hang(grpc::ServerContext& context, const v1::SearchRequest&, v1::SearchResponse&) {
  while (!context.IsCancelled()) std::this_thread::sleep_for(5ms);
  return grpc::Status::CANCELLED;
}

template <class Call>
Error ErrorIn(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error::OfCall({});
}

std::string Sent(const grpc::ServerContext& context, const std::string& key) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return "";
  return {found->second.data(), found->second.size()};
}

TEST(Client, SaysWhoItIs) {
  Server server([](auto& context, auto&, auto& response) {
    response.set_search_id(Sent(context, "user-agent") + "|" + Sent(context, "authorization"));
    return grpc::Status::OK;
  });
  Options options;
  options.token = "secret";

  const std::string anonymous = Client(server.target()).Search({}).search_id();
  const std::string named = Client(server.target(), options).Search({}).search_id();

  EXPECT_EQ(anonymous.rfind("finesieve-cpp/0.1.0 ", 0), 0u) << anonymous;
  EXPECT_EQ(anonymous.back(), '|');
  EXPECT_EQ(named.substr(named.find('|')), "|Bearer secret");
}

TEST(Client, ThrowsWhatTheServerTold) {
  Server server([](auto& context, auto&, auto&) -> grpc::Status {
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "busy", EncodedDetails()};
  });
  Client client(server.target());

  const Error error = ErrorIn([&] { client.Search({}); });

  EXPECT_STREQ(error.what(), "RESOURCE_EXHAUSTED (OVERLOADED): busy");
  EXPECT_EQ(error.request_id(), "r-1");
}

TEST(Client, FindsTheRequestIdInATrailer) {
  Server server([](auto& context, auto&, auto&) -> grpc::Status {
    context.AddTrailingMetadata("x-request-id", "r-2");
    return {grpc::StatusCode::INTERNAL, "a bug"};
  });
  Client client(server.target());

  EXPECT_EQ(ErrorIn([&] { client.Search({}); }).request_id(), "r-2");
}

TEST(Client, HasADeadlineThatACallMayChange) {
  Server server([](auto& context, auto&, auto& response) -> grpc::Status {
    const auto left = context.deadline() - std::chrono::system_clock::now();
    const bool none = context.deadline() == std::chrono::system_clock::time_point::max();
    response.set_search_id(
        none ? "none" : std::to_string(std::chrono::round<std::chrono::seconds>(left).count()));
    return grpc::Status::OK;
  });
  Options options;
  options.timeout = 7s;

  Client client(server.target(), options);

  EXPECT_EQ(Client(server.target()).Search({}).search_id(), "30");
  EXPECT_EQ(client.Search({}).search_id(), "7");
  EXPECT_EQ(client.Search({}, client.NewContext(11s)).search_id(), "11");
  EXPECT_EQ(client.Search({}, client.NewContext(kNoDeadline)).search_id(), "none");
  EXPECT_EQ(client.Search({}, client.NewContext(std::chrono::milliseconds::max())).search_id(),
            "none");
}

TEST(Client, KeepsItsDeadline) {
  Server server(Hang);
  Client client(server.target());

  const Error error = ErrorIn([&] { client.Search({}, client.NewContext(50ms)); });

  EXPECT_EQ(error.code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(Client, CancelsACallFromAnotherThread) {
  Server server(Hang);
  Client client(server.target());
  const Context context = client.NewContext();
  const auto cancelling = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(50ms);
    context->TryCancel();
  });

  EXPECT_EQ(ErrorIn([&] { client.Search({}, context); }).code(), grpc::StatusCode::CANCELLED);
}

TEST(Client, TriesAgainWhenTheServerSaysSo) {
  std::atomic<int> calls = 0;
  Server server([&](auto& context, auto&, auto&) -> grpc::Status {
    if (++calls == 4) return grpc::Status::OK;
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "10");
    return {grpc::StatusCode::UNAVAILABLE, "draining"};
  });
  Client client(server.target());

  EXPECT_NO_THROW(client.Search({}));
  EXPECT_EQ(calls, 4);
}

TEST(Client, TriesALargeCallAgainToo) {
  std::atomic<int> calls = 0;
  Server server([&](auto& context, auto&, auto&) -> grpc::Status {
    if (++calls == 3) return grpc::Status::OK;
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "1");
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "busy"};
  });
  Client client(server.target());
  v1::SearchRequest large;
  large.set_query(std::string(3'000'000, 'x'));

  EXPECT_NO_THROW(client.Search(large));
  EXPECT_EQ(calls, 3);
}

TEST(Client, AsksNoProxyForThisMachine) {
  Server server(Ok);
  const std::string port = server.target().substr(server.target().find(':'));
  setenv("http_proxy", "http://127.0.0.1:1", 1);  // where nobody listens
  Client client("localhost" + port);
  unsetenv("http_proxy");

  EXPECT_NO_THROW(client.Search({}, client.NewContext(5s)));
}

TEST(Client, DoesNotTryAgainWhenTheServerSaysNot) {
  std::atomic<int> calls = 0;
  Server server([&](auto& context, auto&, auto&) -> grpc::Status {
    ++calls;
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"};
  });
  Client client(server.target());

  EXPECT_EQ(ErrorIn([&] { client.Search({}); }).message(), "full");
  EXPECT_EQ(calls, 1);
}

TEST(Client, SaysThatNobodyListens) {
  Client client("127.0.0.1:1");

  EXPECT_EQ(ErrorIn([&] { client.CreateCollection({}); }).code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(Client, GivesItsStubs) {
  Server server(Ok);
  Client client(server.target());
  const Context context = client.NewContext();
  v1::SearchResponse response;

  EXPECT_TRUE(client.search().Search(context.get(), {}, &response).ok());
}

TEST(WaitReady, ReturnsOnceTheServerTakesCalls) {
  Server server(Ok);
  server.SetServing(false);
  Client client(server.target());
  auto waiting = std::async(std::launch::async, [&] { client.WaitReady(30s); });

  EXPECT_EQ(waiting.wait_for(100ms), std::future_status::timeout);
  server.SetServing(true);

  EXPECT_NO_THROW(waiting.get());
  EXPECT_NO_THROW(client.WaitReady(kNoDeadline));
}

TEST(WaitReady, SaysThatItWaitedInVain) {
  Server server(Ok);
  server.SetServing(false);
  for (const std::string& target : {server.target(), std::string("127.0.0.1:1")}) {
    Client client(target);

    const Error error = ErrorIn([&] { client.WaitReady(250ms); });

    EXPECT_EQ(error.code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_EQ(error.message(), "the server at " + target + " was not ready within 0.25 s");
  }
}

TEST(WaitReady, SaysThatTheServerCannotTell) {
  Server server(Ok, {}, false);
  Client client(server.target());

  EXPECT_EQ(ErrorIn([&] { client.WaitReady(30s); }).code(), grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace finesieve
