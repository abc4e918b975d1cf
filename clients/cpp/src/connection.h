// Decides how a server is reached: its address, TLS, retries and limits of the channel.
#pragma once

#include <finesieve/client.h>
#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace finesieve {

/// Opens a channel; nothing is sent. Throws as Client's constructor does.
std::shared_ptr<grpc::Channel> Connect(const std::string& target, const Options& options);

/// Tells whether a target can only mean this same machine; what is not understood may not.
bool IsLoopback(const std::string& target);

}  // namespace finesieve
