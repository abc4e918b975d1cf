#include "calls.h"

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace finesieve::conformance {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxResponses = 16;

/// Does something after a delay, unless it is destroyed before.
class Timer {
 public:
  Timer(milliseconds delay, std::function<void()> act)
      : thread_([this, delay, act = std::move(act)] {
          std::unique_lock lock(mutex_);
          if (!ended_.wait_for(lock, delay, [this] { return over_; })) act();
        }) {}

  ~Timer() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::thread thread_;
};

/// The context that the call asks for. Null leaves it to the client.
Context ContextOf(const Client& client, const v1::Call& call, bool is_stream) {
  if (call.has_timeout_ms()) return client.NewContext(milliseconds(call.timeout_ms()));
  if (!call.has_cancel_after_ms() && !call.has_cancel_after_responses()) return nullptr;
  return is_stream ? client.NewContext(kNoDeadline) : client.NewContext();
}

std::unique_ptr<Timer> CancelLater(const v1::Call& call, const Context& context) {
  if (!call.has_cancel_after_ms()) return nullptr;
  return std::make_unique<Timer>(milliseconds(call.cancel_after_ms()),
                                 [context] { context->TryCancel(); });
}

template <class Request>
std::vector<Request> RequestsOf(const v1::Call& call) {
  std::vector<Request> requests(call.requests_size());
  for (int i = 0; i < call.requests_size(); ++i) {
    if (!requests[i].ParseFromString(call.requests(i))) {
      throw Refusal("request " + std::to_string(i) + " is no " +
                    Request::descriptor()->full_name());
    }
  }
  return requests;
}

template <class Request>
Request OnlyRequestOf(const v1::Call& call) {
  auto requests = RequestsOf<Request>(call);
  if (requests.size() != 1) throw Refusal(call.method() + " takes one request");
  return std::move(requests[0]);
}

/// Keeps the last responses, and cancels the call after as many as it asks for.
template <class Response>
class Keeper {
 public:
  Keeper(const v1::Call& call, Context context, v1::Outcome& outcome)
      : call_(call), context_(std::move(context)), outcome_(outcome) {
    CancelIfEnough();
  }

  void Keep(const Response& response) {
    auto& kept = *outcome_.mutable_responses();
    if (kept.size() == kMaxResponses) kept.DeleteSubrange(0, 1);
    kept.Add(response.SerializeAsString());
    outcome_.set_response_count(outcome_.response_count() + 1);
    CancelIfEnough();
  }

 private:
  void CancelIfEnough() {
    if (call_.has_cancel_after_responses() &&
        outcome_.response_count() == call_.cancel_after_responses()) {
      context_->TryCancel();
    }
  }

  const v1::Call& call_;
  Context context_;
  v1::Outcome& outcome_;
};

using Method = std::function<void(Client&, const v1::Call&, v1::Outcome&)>;

template <class Request, class Response>
Method Unary(Response (Client::*method)(const Request&, Context)) {
  return [method](Client& client, const v1::Call& call, v1::Outcome& outcome) {
    const auto request = OnlyRequestOf<Request>(call);
    const Context context = ContextOf(client, call, false);
    const auto timer = CancelLater(call, context);
    Keeper<Response> keeper(call, context, outcome);
    keeper.Keep((client.*method)(request, context));
  };
}

template <class Request, class Response>
Method ServerStream(Reader<Response> (Client::*method)(const Request&, Context)) {
  return [method](Client& client, const v1::Call& call, v1::Outcome& outcome) {
    const auto request = OnlyRequestOf<Request>(call);
    const Context context = ContextOf(client, call, true);
    Reader<Response> reader = (client.*method)(request, context);
    const auto timer = CancelLater(call, context);
    Keeper<Response> keeper(call, context, outcome);
    while (const auto response = reader.Read()) keeper.Keep(*response);
  };
}

template <class Request, class Response>
Method BothStream(Stream<Request, Response> (Client::*method)(Context)) {
  return [method](Client& client, const v1::Call& call, v1::Outcome& outcome) {
    const auto requests = RequestsOf<Request>(call);
    const std::size_t count = requests.size() * std::max(call.repeat(), 1u);
    const Context context = ContextOf(client, call, true);
    Stream<Request, Response> stream = (client.*method)(context);
    const auto timer = CancelLater(call, context);
    Keeper<Response> keeper(call, context, outcome);
    stream.Exchange(
        [&, sent = std::size_t{0}]() mutable -> std::optional<Request> {
          if (sent == count) return std::nullopt;
          return requests[sent++ % requests.size()];
        },
        [&](const Response& response) { keeper.Keep(response); });
  };
}

const std::map<std::string, Method>& Methods() {
  static const std::map<std::string, Method> methods = {
      {"RetrievalService/CreateCollection", Unary(&Client::CreateCollection)},
      {"RetrievalService/GetCollection", Unary(&Client::GetCollection)},
      {"RetrievalService/ListCollections", Unary(&Client::ListCollections)},
      {"RetrievalService/DeleteCollection", Unary(&Client::DeleteCollection)},
      {"RetrievalService/UpsertPassages", Unary(&Client::UpsertPassages)},
      {"RetrievalService/StreamUpsertPassages", BothStream(&Client::StreamUpsertPassages)},
      {"RetrievalService/DeletePassages", Unary(&Client::DeletePassages)},
      {"RetrievalService/GetPassages", Unary(&Client::GetPassages)},
      {"RetrievalService/ListPassages", Unary(&Client::ListPassages)},
      {"RetrievalService/Retrieve", Unary(&Client::Retrieve)},
      {"RetrievalService/BatchRetrieve", Unary(&Client::BatchRetrieve)},
      {"RerankService/Rerank", Unary(&Client::Rerank)},
      {"RerankService/StreamRerank", BothStream(&Client::StreamRerank)},
      {"SearchService/Search", Unary(&Client::Search)},
      {"EmbeddingService/Embed", Unary(&Client::Embed)},
      {"EmbeddingService/CountTokens", Unary(&Client::CountTokens)},
      {"ModelService/ListModels", Unary(&Client::ListModels)},
      {"FeedbackService/RecordFeedback", Unary(&Client::RecordFeedback)},
      {"FeedbackService/ExportTrainingPairs", ServerStream(&Client::ExportTrainingPairs)},
  };
  return methods;
}

}  // namespace

void MakeCall(Client& client, const v1::Call& call, v1::Outcome& outcome) {
  const std::string package = "finesieve.v1.";
  const auto method = call.method().rfind(package, 0) == 0
                          ? Methods().find(call.method().substr(package.size()))
                          : Methods().end();
  if (method == Methods().end()) throw Refusal("there is no method " + call.method());
  method->second(client, call, outcome);
}

}  // namespace finesieve::conformance
