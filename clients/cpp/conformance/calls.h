// Makes the calls that orders name, as an application would.
#pragma once

#include <finesieve/client.h>
#include <finesieve/conformance/v1/conformance.pb.h>

#include <stdexcept>

namespace finesieve::conformance {

/// The client refuses to do it before a call is made.
class Refusal : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Makes a call and writes down what came of it; throws Error and Refusal.
void MakeCall(Client& client, const v1::Call& call, v1::Outcome& outcome);

}  // namespace finesieve::conformance
