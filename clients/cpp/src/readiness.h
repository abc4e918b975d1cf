// Decides, from what gRPC's health service says, when a server takes calls.
#pragma once

#include <finesieve/client.h>

#include <chrono>
#include <string>

namespace finesieve {

/// Returns once the server says that it takes calls. Throws Error.
void UntilServing(const Client& client, const std::string& target,
                  std::chrono::milliseconds timeout);

}  // namespace finesieve
