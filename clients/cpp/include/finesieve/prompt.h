// What a language model is asked, and what its answer cites.
#pragma once

#include <finesieve/v1/search.pb.h>

#include <string>
#include <string_view>
#include <vector>

namespace finesieve {

using SearchHits = google::protobuf::RepeatedPtrField<v1::SearchHit>;

/// Returns the message that asks a chat model to answer the question from the hits, and to cite
/// them by their numbers, from 1.
///
/// Each hit's passage is one line of JSON, with the passages around it where the search was asked
/// for a window. No text can leave its line, and characters that nobody sees are removed.
std::string Prompt(std::string_view question, const SearchHits& hits);

/// Returns the ids of the passages that the answer cites, as in [1] or [2, 3]: each once, in the
/// order in which it does. Numbers that are no hit's are ignored.
std::vector<std::string> Cited(std::string_view answer, const SearchHits& hits);

}  // namespace finesieve
