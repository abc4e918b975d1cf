// Answers a question from a collection's passages, and says which of them it cites.
//
//     rag TARGET COLLECTION QUESTION
//
// The language model is the one behind OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL. Where
// neither of the first two is set, the answer is what the best passages say, word for word.
#include <finesieve/chat.h>
#include <finesieve/client.h>
#include <finesieve/prompt.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

namespace {

namespace v1 = finesieve::v1;

constexpr int kMaxQuotes = 3;

finesieve::SearchHits Search(finesieve::Client& client, const std::string& collection,
                             const std::string& question) {
  v1::SearchRequest request;
  request.set_collection(collection);
  request.set_query(question);
  request.set_top_n(5);
  // So that each hit says which span of a long passage is the relevant one.
  request.mutable_rerank()->set_long_passage(v1::LONG_PASSAGE_CHUNK);
  return client.Search(request).hits();
}

/// Returns the passage's relevant span, or all of it. Spans count characters, not bytes.
std::string BestSpan(const v1::Hit& hit) {
  if (!hit.has_best_span()) return hit.passage().text();
  std::string span;
  std::uint32_t started = 0;
  for (const char byte : hit.passage().text()) {
    const bool starts_character = (byte & 0xC0) != 0x80;
    if (starts_character) ++started;
    if (started > hit.best_span().start() && started <= hit.best_span().end()) span += byte;
  }
  return span;
}

/// An answer without a language model: what the best hits say, word for word.
std::string Quote(const finesieve::SearchHits& hits) {
  std::string answer;
  for (int i = 0; i < std::min(hits.size(), kMaxQuotes); ++i) {
    if (!answer.empty()) answer += "\n";
    answer += BestSpan(hits[i].hit()) + " [" + std::to_string(i + 1) + "]";
  }
  return answer;
}

bool IsSet(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

std::string Answer(const std::string& question, const finesieve::SearchHits& hits) {
  if (!IsSet("OPENAI_BASE_URL") && !IsSet("OPENAI_API_KEY")) return Quote(hits);
  return finesieve::Chat().Complete(finesieve::Prompt(question, hits));
}

void PrintCited(const std::string& answer, const finesieve::SearchHits& hits) {
  for (const std::string& id : finesieve::Cited(answer, hits)) {
    const auto cited = std::find_if(hits.begin(), hits.end(), [&](const v1::SearchHit& hit) {
      return hit.hit().passage().id() == id;
    });
    std::cout << "[" << cited - hits.begin() + 1 << "] " << id << "  "
              << cited->hit().passage().title() << "\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: rag TARGET COLLECTION QUESTION\n";
    return 2;
  }
  const std::string question = argv[3];
  try {
    finesieve::Client client(argv[1]);
    const finesieve::SearchHits hits = Search(client, argv[2], question);
    if (hits.empty()) {
      std::cout << "Nothing was found.\n";
      return 0;
    }
    const std::string answer = Answer(question, hits);
    std::cout << answer << "\n\n";
    PrintCited(answer, hits);
  } catch (const std::exception& error) {  // finesieve::Error and ChatError among them
    std::cerr << error.what() << "\n";
    return 1;
  }
}
