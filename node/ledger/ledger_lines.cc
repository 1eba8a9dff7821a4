#include "node/ledger/ledger_lines.h"

#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::node {
namespace {

constexpr std::string_view kBefore = "{\"hash\":\"";
constexpr std::string_view kBetween = "\",\"entry\":";
constexpr std::string_view kAfter = "}";
constexpr size_t kHashDigits = 64;

absl::Status Damaged(const std::string& detail) {
  return secagg::Refusal(absl::StatusCode::kDataLoss, secagg::AbortReason::kDamagedLedger,
                         detail +
                             "; this node takes no part in anything until its owner has looked "
                             "into it");
}

Digest HashOf(const Digest& previous, std::string_view entry) {
  return Sha256()
      .Update(std::string_view("choir/ledger/v1\0", 16))
      .Update(previous)
      .Update(entry)
      .Finish();
}

// The entry of a line without its line feed; nothing if it is no line of a ledger after `previous`.
std::optional<std::string_view> EntryOf(std::string_view line, const Digest& previous,
                                        Digest& hash) {
  const size_t frame = kBefore.size() + kHashDigits + kBetween.size() + kAfter.size();
  if (line.size() < frame || !line.starts_with(kBefore) || !line.ends_with(kAfter)) {
    return std::nullopt;
  }
  const std::string_view said = line.substr(kBefore.size(), kHashDigits);
  line.remove_prefix(kBefore.size() + kHashDigits);
  if (!line.starts_with(kBetween)) return std::nullopt;
  line.remove_prefix(kBetween.size());
  line.remove_suffix(kAfter.size());
  hash = HashOf(previous, line);
  if (DigestToHex(hash) != said) return std::nullopt;
  return line;
}

struct Head {
  uint64_t lines = 0;
  std::string_view hash;
};

std::optional<Head> ParseHead(std::string_view text) {
  Head head;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), head.lines);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.size() != kHashDigits + 2 || text.front() != ' ' || text.back() != '\n') {
    return std::nullopt;
  }
  head.hash = text.substr(1, kHashDigits);
  return head;
}

}  // namespace

std::string LedgerLine(const Digest& previous, std::string_view entry, Digest& hash) {
  hash = HashOf(previous, entry);
  return fmt::format("{}{}{}{}{}\n", kBefore, DigestToHex(hash), kBetween, entry, kAfter);
}

std::string LedgerHead(uint64_t lines, const Digest& last_hash) {
  return fmt::format("{} {}\n", lines, DigestToHex(last_hash));
}

absl::StatusOr<LedgerLines> ReadLedgerLines(std::string_view text, std::string_view head) {
  Head known;
  if (!head.empty()) {
    const std::optional<Head> parsed = ParseHead(head);
    if (!parsed.has_value()) return Damaged("the ledger's head file is damaged");
    known = *parsed;
  }
  LedgerLines out;
  for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    const std::optional<std::string_view> entry =
        EntryOf(text.substr(0, end), out.last_hash, out.last_hash);
    const size_t number = out.entries.size() + 1;
    if (!entry.has_value()) {
      return Damaged(
          fmt::format("line {} of the ledger does not follow from those before", number));
    }
    out.entries.emplace_back(*entry);
    out.good_bytes += end + 1;
    text.remove_prefix(end + 1);
    if (number == known.lines && DigestToHex(out.last_hash) != known.hash) {
      return Damaged(fmt::format("line {} of the ledger is not the one that was written", number));
    }
  }
  const uint64_t lines = out.entries.size();
  if (lines < known.lines || lines > known.lines + 1) {
    return Damaged(fmt::format("the ledger has {} lines, {} were written", lines, known.lines));
  }
  return out;
}

}  // namespace choir::node
