#include <arpa/inet.h>
#include <finesieve/chat.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace finesieve {
namespace {

using nlohmann::json;

/// An HTTP endpoint that answers one request.
class Endpoint {
 public:
  explicit Endpoint(std::string reply, const std::string& status = "200 OK")
      : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listener_, 1);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    base_url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/v1";
    request_ = std::async(std::launch::async, [this, status, reply = std::move(reply)] {
      return Serve("HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(reply.size()) +
                   "\r\nConnection: close\r\n\r\n" + reply);
    });
  }

  ~Endpoint() {
    shutdown(listener_, SHUT_RDWR);
    close(listener_);
  }

  const std::string& base_url() const { return base_url_; }

  /// Waits for the request and returns it, its head first.
  std::string Request() { return request_.get(); }

 private:
  std::string Serve(const std::string& reply) const {
    const int connection = accept(listener_, nullptr, nullptr);
    std::string request;
    while (!IsWhole(request)) {
      char bytes[4096];
      const ssize_t count = read(connection, bytes, sizeof(bytes));
      if (count <= 0) break;
      request.append(bytes, static_cast<std::size_t>(count));
    }
    if (write(connection, reply.data(), reply.size()) < 0) request.clear();
    close(connection);
    return request;
  }

  static bool IsWhole(const std::string& request) {
    const std::string key = "Content-Length: ";
    const std::size_t end = request.find("\r\n\r\n");
    const std::size_t length = request.find(key);
    if (end == std::string::npos || length == std::string::npos) return false;
    return request.size() >= end + 4 + std::stoul(request.substr(length + key.size()));
  }

  int listener_;
  std::string base_url_;
  std::future<std::string> request_;
};

Chat ChatAt(const std::string& base_url) {
  ChatOptions options;
  options.base_url = base_url;
  options.api_key = "key";
  options.model = "model";
  return Chat(options);
}

std::string WhatItSays(const Chat& chat) {
  try {
    return "answered: " + chat.Complete("?");
  } catch (const ChatError& error) {
    return error.what();
  }
}

TEST(Chat, AsksAsOpenAiIsAsked) {
  Endpoint endpoint(R"({"choices": [{"message": {"role": "assistant", "content": "Yes [1]."}}]})");

  const std::string answer = ChatAt(endpoint.base_url() + "/").Complete("a \"question\"\n\xff");

  EXPECT_EQ(answer, "Yes [1].");
  const std::string request = endpoint.Request();
  EXPECT_EQ(request.rfind("POST /v1/chat/completions HTTP/1.1\r\n", 0), 0u) << request;
  EXPECT_NE(request.find("Authorization: Bearer key\r\n"), std::string::npos);
  EXPECT_EQ(json::parse(request.substr(request.find("\r\n\r\n"))), json::parse(R"({"model": "model",
                "messages": [{"role": "user", "content": "a \"question\"\n\uFFFD"}]})"));
}

TEST(Chat, SaysWhyThereIsNoAnswer) {
  Endpoint busy(R"({"error": "slow down"})", "429 Too Many Requests");
  Endpoint odd(R"({"choices": []})");
  Endpoint mute(R"({"choices": [{"message": {"content": null}}]})");
  Endpoint page("<html>");

  EXPECT_EQ(WhatItSays(ChatAt(busy.base_url())),
            busy.base_url() + "/chat/completions: HTTP 429: {\"error\": \"slow down\"}");
  for (Endpoint* endpoint : {&odd, &mute, &page}) {
    const std::string said = WhatItSays(ChatAt(endpoint->base_url()));
    EXPECT_NE(said.find("no message in the answer"), std::string::npos) << said;
  }
  EXPECT_NE(WhatItSays(ChatAt("http://127.0.0.1:1/v1")).find("connect"), std::string::npos);
}

TEST(Chat, WantsAModel) {
  unsetenv("OPENAI_MODEL");
  EXPECT_THROW(Chat(), std::invalid_argument);
}

}  // namespace
}  // namespace finesieve
