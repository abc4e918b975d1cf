#include "connection.h"

#include <arpa/inet.h>
#include <finesieve/settings.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace finesieve {
namespace {

constexpr int kMaxAnswerBytes = 64 * 1024 * 1024;
// What a call may hold to be tried again: more than the server takes.
constexpr int kMaxRetryBytes = 64 * 1024 * 1024;
constexpr std::string_view kDns = "dns:///";

/// Returns a file's content; nothing for no path. An empty file is refused, too: gRPC would take it
/// for none.
std::string ReadFile(const std::string& path) {
  if (path.empty()) return "";
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file || !content) {
    throw std::system_error(errno != 0 ? errno : EINVAL, std::generic_category(),
                            "cannot read " + path);
  }
  return content.str();
}

std::shared_ptr<grpc::ChannelCredentials> Credentials(const std::optional<Tls>& tls) {
  if (!tls) return grpc::InsecureChannelCredentials();
  if (tls->client_certificate.empty() != tls->client_key.empty()) {
    throw std::invalid_argument(
        "client_certificate and client_key belong together; one is missing");
  }
  grpc::SslCredentialsOptions files;
  files.pem_root_certs = ReadFile(tls->root_certificates);
  files.pem_cert_chain = ReadFile(tls->client_certificate);
  files.pem_private_key = ReadFile(tls->client_key);
  return grpc::SslCredentials(files);
}

grpc::ChannelArguments Arguments(const std::string& target, const std::optional<Tls>& tls) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetUserAgentPrefix(std::string("finesieve-cpp/") + kVersion);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  arguments.SetMaxSendMessageSize(-1);  // the server says what is too long
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, kMaxRetryBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt("grpc.http2.ping_timeout_ms", 20'000);  // what newer gRPC reads instead
  if (IsLoopback(target)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // another machine
  if (tls && !tls->server_name.empty()) arguments.SetSslTargetNameOverride(tls->server_name);
  return arguments;
}

std::string WithoutPort(const std::string& address) {
  const std::size_t colon = address.find_last_not_of("0123456789");
  const bool has_port =
      colon != std::string::npos && colon + 1 < address.size() && address[colon] == ':';
  return has_port ? address.substr(0, colon) : address;
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& target, const Options& options) {
  if (!options.token.empty() && !options.tls && !IsLoopback(target)) {
    throw std::invalid_argument("a token would travel to " + target + " in the clear; speak TLS");
  }
  return grpc::CreateCustomChannel(target, Credentials(options.tls),
                                   Arguments(target, options.tls));
}

bool IsLoopback(const std::string& target) {
  if (target.rfind("unix:", 0) == 0) return true;
  const std::string host = WithoutPort(target.substr(target.rfind(kDns, 0) == 0 ? kDns.size() : 0));
  in6_addr v6;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']' &&
      inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6) == 1) {
    return IN6_IS_ADDR_LOOPBACK(&v6);
  }
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "localhost";
}

}  // namespace finesieve
