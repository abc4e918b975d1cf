// Text without what nobody sees but a language model reads.
#pragma once

#include <string>
#include <string_view>

namespace finesieve {

/// Returns UTF-8 without control and format characters and without line separators, but for line
/// feeds and tabs. "\r\n" becomes "\n"; bytes that are no UTF-8 are left out.
std::string VisibleText(std::string_view text);

/// Returns visible text in one line, with a space for each line break.
std::string VisibleLine(std::string_view text);

}  // namespace finesieve
