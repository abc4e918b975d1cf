// What went wrong with a call, with all that the server told of it.
#pragma once

#include <finesieve/v1/results.pb.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace finesieve {

/// One field at fault: its path, such as "passages[3].id", and what is wrong with it.
struct Violation {
  std::string field;
  std::string description;
};

/// A call, or one item of it, that the server did not answer as asked.
///
/// what() is the status, the reason and the message in one line.
class Error : public std::runtime_error {
 public:
  /// Of a call's status, with what its details tell. `request_id` counts where these have none.
  static Error OfCall(const grpc::Status& status, const std::string& request_id = "");

  /// Of the failure of one item of a call that itself went on.
  static Error OfFailure(const v1::Failure& failure);

  grpc::StatusCode code() const { return status_.error_code(); }

  /// Stable and in UPPER_SNAKE; empty where no server said one.
  const std::string& reason() const { return reason_; }

  /// For people.
  std::string message() const { return status_.error_message(); }

  /// The values that the message speaks of.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  const std::vector<Violation>& violations() const { return violations_; }

  /// Set where trying again after it may help.
  std::optional<std::chrono::nanoseconds> retry_delay() const { return retry_delay_; }

  /// Quote it when you report an INTERNAL error.
  const std::string& request_id() const { return request_id_; }

  /// As gRPC gave it; error_details() is an encoded google.rpc.Status.
  const grpc::Status& status() const { return status_; }

 private:
  Error(const grpc::Status& status, const std::string& reason);

  grpc::Status status_;
  std::string reason_;
  std::map<std::string, std::string> metadata_;
  std::vector<Violation> violations_;
  std::optional<std::chrono::nanoseconds> retry_delay_;
  std::string request_id_;
};

}  // namespace finesieve
