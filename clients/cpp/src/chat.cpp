#include <curl/curl.h>
#include <finesieve/chat.h>

#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

namespace finesieve {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxAnswerBytes = 64 * 1024 * 1024;

std::string Or(const std::string& given, const char* variable, const char* otherwise) {
  if (!given.empty()) return given;
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::size_t Append(char* bytes, std::size_t, std::size_t count, void* body) {
  auto& text = *static_cast<std::string*>(body);
  if (text.size() + count > kMaxAnswerBytes) return 0;  // curl fails then
  text.append(bytes, count);
  return count;
}

struct Reply {
  long status = 0;
  std::string body;
};

Reply Post(const std::string& url, const std::string& api_key, const std::string& body,
           std::chrono::milliseconds timeout) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 &curl_easy_cleanup);
  if (started != CURLE_OK || !curl) throw ChatError("libcurl does not start");
  curl_slist* lines = curl_slist_append(nullptr, "Content-Type: application/json");
  if (!api_key.empty()) {
    lines = curl_slist_append(lines, ("Authorization: Bearer " + api_key).c_str());
  }
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(lines,
                                                                            &curl_slist_free_all);
  Reply reply;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);  // other threads' signals stay theirs
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &Append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &reply.body);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) throw ChatError(url + ": " + curl_easy_strerror(code));
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &reply.status);
  return reply;
}

}  // namespace

Chat::Chat(ChatOptions options) : options_(std::move(options)) {
  options_.base_url = Or(options_.base_url, "OPENAI_BASE_URL", "https://api.openai.com/v1");
  options_.api_key = Or(options_.api_key, "OPENAI_API_KEY", "");
  options_.model = Or(options_.model, "OPENAI_MODEL", "");
  if (options_.model.empty()) throw std::invalid_argument("no model; set OPENAI_MODEL");
  while (!options_.base_url.empty() && options_.base_url.back() == '/')
    options_.base_url.pop_back();
}

std::string Chat::Complete(const std::string& message) const {
  const json request = {
      {"model", options_.model},
      {"messages", json::array({json::object({{"role", "user"}, {"content", message}})})},
  };
  const std::string url = options_.base_url + "/chat/completions";
  const Reply reply =
      Post(url, options_.api_key,
           request.dump(-1, ' ', false, json::error_handler_t::replace),  // of what is no UTF-8
           options_.timeout);
  if (reply.status != 200) {
    throw ChatError(url + ": HTTP " + std::to_string(reply.status) + ": " +
                    reply.body.substr(0, 500));
  }
  try {
    return json::parse(reply.body).at("choices").at(0).at("message").at("content");
  } catch (const json::exception&) {
    throw ChatError(url + ": no message in the answer: " + reply.body.substr(0, 500));
  }
}

}  // namespace finesieve
