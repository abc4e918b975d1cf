// An OpenAI-compatible chat endpoint: as much of one as RAG needs.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>

namespace finesieve {

/// The endpoint could not be reached, refused, or answered something else than a message.
class ChatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where the endpoint is. What is left empty comes from OPENAI_BASE_URL, OPENAI_API_KEY and
/// OPENAI_MODEL; without a base URL it is OpenAI's own.
struct ChatOptions {
  std::string base_url = {};
  std::string api_key = {};
  std::string model = {};
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
};

/// A chat model behind an HTTP endpoint, for any number of threads.
class Chat {
 public:
  /// Nothing is sent. Throws std::invalid_argument where no model is named.
  explicit Chat(ChatOptions options = {});

  /// Returns the model's answer to one user message. Throws ChatError.
  std::string Complete(const std::string& message) const;

 private:
  ChatOptions options_;
};

}  // namespace finesieve
