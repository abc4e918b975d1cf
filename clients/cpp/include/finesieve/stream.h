// Streams of a call, read and written one message after another.
#pragma once

#include <finesieve/error.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <future>
#include <memory>
#include <optional>
#include <utility>

namespace finesieve {

/// What a call carries beside its messages: deadline and metadata. Serves one call; TryCancel(),
/// from any thread, cancels it.
using Context = std::shared_ptr<grpc::ClientContext>;

/// The error of a call that ended so.
Error ErrorOf(const grpc::Status& status, const grpc::ClientContext& context);

/// The responses of a call. Destroying it before the last one cancels the call.
template <class Response, class Call = grpc::ClientReader<Response>>
class Reader {
 public:
  Reader(Context context, std::unique_ptr<Call> call)
      : context_(std::move(context)), call_(std::move(call)) {}
  Reader(Reader&&) = default;

  ~Reader() {
    if (!call_ || ended_) return;
    Cancel();
    Response ignored;
    while (call_->Read(&ignored)) {
    }
    call_->Finish();
  }

  /// Waits for the next response; nothing comes after the last. Throws Error where the call failed.
  /// For one thread at a time.
  std::optional<Response> Read() {
    if (ended_) return std::nullopt;
    std::optional<Response> response(std::in_place);
    if (call_->Read(&*response)) return response;
    ended_ = true;
    const grpc::Status status = call_->Finish();
    if (!status.ok()) throw ErrorOf(status, *context_);
    return std::nullopt;
  }

  /// From any thread.
  void Cancel() { context_->TryCancel(); }

 protected:
  Context context_;
  std::unique_ptr<Call> call_;

 private:
  bool ended_ = false;
};

/// A call with requests and responses, both in flow: a server that waits for its responses to be
/// read stops reading requests. Write from one thread and read from another, or use Exchange().
template <class Request, class Response>
class Stream : public Reader<Response, grpc::ClientReaderWriter<Request, Response>> {
 public:
  using Reader<Response, grpc::ClientReaderWriter<Request, Response>>::Reader;

  /// Sends a request; false where the call has ended, and Read() says why.
  bool Write(const Request& request) { return this->call_->Write(request); }

  /// Says that no more requests come; the server answers those it has and ends the call.
  void WritesDone() { this->call_->WritesDone(); }

  /// Sends what `next`, a std::optional<Request>(), returns until that is nothing, and hands each
  /// response to `take`, a void(Response), as it comes. Returns when the call has ended and `next`
  /// has returned; throws Error where the call failed, and what `next` or `take` throws, which
  /// cancels it. `next` runs on a thread of its own: one that waits for what comes after this
  /// returns waits for ever where the server ends the call first.
  template <class Next, class Take>
  void Exchange(Next next, Take take) {
    std::future<void> writing = std::async(std::launch::async, [&] {
      try {
        for (std::optional<Request> request; (request = next());) {
          if (!Write(*request)) return;
        }
        WritesDone();
      } catch (...) {
        this->Cancel();
        throw;
      }
    });
    try {
      while (std::optional<Response> response = this->Read()) take(*std::move(response));
    } catch (...) {
      this->Cancel();
      writing.get();
      throw;
    }
    writing.get();
  }
};

}  // namespace finesieve
