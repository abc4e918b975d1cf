#include "visible_text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>

namespace finesieve {
namespace {

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};

// Controls, the line and paragraph separators, and Unicode 17's category Cf, in ascending order.
constexpr std::array<Range, 23> kInvisible = {{
    {0x0000, 0x001F},   {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x0600, 0x0605},
    {0x061C, 0x061C},   {0x06DD, 0x06DD},   {0x070F, 0x070F},   {0x0890, 0x0891},
    {0x08E2, 0x08E2},   {0x180E, 0x180E},   {0x200B, 0x200F},   {0x2028, 0x202E},
    {0x2060, 0x2064},   {0x2066, 0x206F},   {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},
    {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F},
}};

bool IsVisible(std::uint32_t character) {
  if (character == '\n' || character == '\t') return true;
  const auto after =
      std::upper_bound(kInvisible.begin(), kInvisible.end(), character,
                       [](std::uint32_t value, const Range& range) { return value < range.first; });
  return after == kInvisible.begin() || character > std::prev(after)->last;
}

struct Character {
  std::uint32_t value;
  std::size_t size;  // in bytes; 0: no character begins here
};

/// Decodes the character at the start of text, which is not empty.
Character Decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {0, 0};
  std::uint32_t value = lead & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {0, 0};
    value = value << 6 | (byte(i) & 0x3F);
  }
  constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kLeast[size] || value > 0x10FFFF || surrogate) return {0, 0};
  return {value, size};
}

bool EndsALine(std::uint32_t character) {
  return (character >= '\n' && character <= '\r') || character == 0x0085 || character == 0x2028 ||
         character == 0x2029;
}

/// Returns visible text, with `line_break` for each line break where one is given.
std::string Visible(std::string_view text, std::optional<char> line_break) {
  std::string visible;
  visible.reserve(text.size());
  while (!text.empty()) {
    const Character character = Decode(text);
    const bool is_half = text.substr(0, 2) == "\r\n";  // the line feed stands for both
    if (character.size > 0 && !is_half) {
      if (line_break && EndsALine(character.value)) {
        visible += *line_break;
      } else if (IsVisible(character.value)) {
        visible.append(text.substr(0, character.size));
      }
    }
    text.remove_prefix(std::max<std::size_t>(character.size, 1));
  }
  return visible;
}

}  // namespace

std::string VisibleText(std::string_view text) { return Visible(text, std::nullopt); }

std::string VisibleLine(std::string_view text) { return Visible(text, ' '); }

}  // namespace finesieve
