// The driver of the conformance suite: reads orders, carries them out, writes outcomes.
// What both look like, conformance.proto says.
#include <arpa/inet.h>
#include <finesieve/prompt.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <unordered_map>

#include "calls.h"

namespace finesieve::conformance {
namespace {

/// The clients of all connections so far.
class Clients {
 public:
  /// Throws Refusal where the client refuses to connect so.
  Client& Of(const v1::Connection& connection) {
    std::unique_ptr<Client>& client = clients_[connection.SerializeAsString()];
    if (!client) client = Connect(connection);
    return *client;
  }

 private:
  static std::unique_ptr<Client> Connect(const v1::Connection& connection) {
    const Tls tls = {connection.root_certificates(), connection.client_certificate(),
                     connection.client_key(), connection.server_name()};
    Options options;
    if (connection.tls() || !tls.root_certificates.empty() || !tls.client_certificate.empty() ||
        !tls.client_key.empty()) {
      options.tls = tls;
    }
    options.token = connection.token();
    if (connection.timeout_ms() > 0) {
      options.timeout = std::chrono::milliseconds(connection.timeout_ms());
    }
    try {
      return std::make_unique<Client>(connection.target(), options);
    } catch (const std::exception& error) {
      throw Refusal(error.what());
    }
  }

  std::unordered_map<std::string, std::unique_ptr<Client>> clients_;
};

v1::Error Encoded(const Error& error) {
  v1::Error encoded;
  encoded.set_code(error.code());
  encoded.set_message(error.message());
  encoded.set_reason(error.reason());
  encoded.mutable_metadata()->insert(error.metadata().begin(), error.metadata().end());
  for (const Violation& violation : error.violations()) {
    v1::Violation& added = *encoded.add_violations();
    added.set_field(violation.field);
    added.set_description(violation.description);
  }
  if (error.retry_delay()) {
    encoded.set_retry_delay_s(std::chrono::duration<double>(*error.retry_delay()).count());
  }
  encoded.set_request_id(error.request_id());
  return encoded;
}

void WritePrompt(const v1::Prompt& order, v1::Outcome& outcome) {
  finesieve::v1::SearchResponse found;
  if (!found.ParseFromString(order.search_response())) {
    throw Refusal("search_response is no SearchResponse");
  }
  outcome.set_prompt(Prompt(order.question(), found.hits()));
  for (const std::string& id : Cited(order.answer(), found.hits())) outcome.add_cited_ids(id);
}

v1::Outcome CarryOut(Clients& clients, const v1::Order& order) {
  v1::Outcome outcome;
  try {
    switch (order.what_case()) {
      case v1::Order::kCall:
        MakeCall(clients.Of(order.connection()), order.call(), outcome);
        break;
      case v1::Order::kWaitReady:
        clients.Of(order.connection())
            .WaitReady(std::chrono::milliseconds(order.wait_ready().timeout_ms()));
        break;
      case v1::Order::kPrompt:
        WritePrompt(order.prompt(), outcome);
        break;
      case v1::Order::WHAT_NOT_SET:
        throw Refusal("there is nothing to do");
    }
  } catch (const Error& error) {
    *outcome.mutable_error() = Encoded(error);
  } catch (const Refusal& refusal) {
    outcome.set_refusal(refusal.what());
  }
  return outcome;
}

/// Reads a message behind its length; false where the input ends.
bool Read(std::istream& input, v1::Order& order) {
  std::uint32_t size = 0;
  if (!input.read(reinterpret_cast<char*>(&size), sizeof(size))) return false;
  std::string content(ntohl(size), '\0');
  input.read(content.data(), static_cast<std::streamsize>(content.size()));
  return input && order.ParseFromString(content);
}

void Write(std::ostream& output, const v1::Outcome& outcome) {
  const std::string content = outcome.SerializeAsString();
  const std::uint32_t size = htonl(static_cast<std::uint32_t>(content.size()));
  output.write(reinterpret_cast<const char*>(&size), sizeof(size));
  output << content << std::flush;
}

}  // namespace
}  // namespace finesieve::conformance

int main() {
  namespace conformance = finesieve::conformance;
  std::ios::sync_with_stdio(false);
  conformance::Clients clients;
  for (conformance::v1::Order order; conformance::Read(std::cin, order);) {
    conformance::Write(std::cout, conformance::CarryOut(clients, order));
  }
}
