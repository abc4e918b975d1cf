#include "readiness.h"

#include <finesieve/wire/wire.pb.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <sstream>
#include <thread>

namespace finesieve {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
// Before watching again, where a server that starts or stops ended the watch.
constexpr milliseconds kPause(200);

/// Watches a server's health, step by step: gRPC has no generic call that simply waits.
class Watch {
 public:
  Watch(const Client& client, milliseconds timeout) : context_(client.NewContext(timeout)) {
    context_->set_wait_for_ready(true);
    call_ = grpc::TemplatedGenericStub<wire::HealthCheckRequest, wire::HealthCheckResponse>(
                client.channel())
                .PrepareCall(context_.get(), kWatch, &queue_);
  }

  /// Returns true once the server takes calls, false where the watch ended before. No other step
  /// follows but End().
  bool UntilServing() {
    call_->StartCall(this);
    if (!Done()) return false;
    call_->WriteLast({}, {}, this);
    if (!Done()) return false;
    while (true) {
      wire::HealthCheckResponse answer;
      call_->Read(&answer, this);
      if (!Done()) return false;
      if (answer.status() == wire::HealthCheckResponse::SERVING) break;
    }
    context_->TryCancel();
    return true;
  }

  /// Says how the watch ended.
  grpc::Status End() {
    grpc::Status status;
    call_->Finish(&status, this);
    Done();
    return status;
  }

  const grpc::ClientContext& context() const { return *context_; }

 private:
  /// Waits for the step under way and tells whether it went well.
  bool Done() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  Context context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<
      grpc::ClientAsyncReaderWriter<wire::HealthCheckRequest, wire::HealthCheckResponse>>
      call_;
};

/// The error of a wait that was in vain.
Error Exhausted(const std::string& target, milliseconds timeout) {
  std::ostringstream message;
  message << "the server at " << target << " was not ready within "
          << std::chrono::duration<double>(timeout).count() << " s";
  return Error::OfCall({grpc::StatusCode::DEADLINE_EXCEEDED, message.str()});
}

}  // namespace

void UntilServing(const Client& client, const std::string& target, milliseconds timeout) {
  const Clock::time_point end = Clock::now() + std::min(timeout, kNoDeadline);
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    if (left <= milliseconds::zero()) throw Exhausted(target, timeout);
    Watch watch(client, left);
    const bool serving = watch.UntilServing();
    const grpc::Status status = watch.End();
    if (serving) return;
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      throw Exhausted(target, timeout);
    }
    if (!status.ok() && status.error_code() != grpc::StatusCode::UNAVAILABLE) {
      throw ErrorOf(status, watch.context());
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace finesieve
