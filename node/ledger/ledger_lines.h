#ifndef CHOIR_NODE_LEDGER_LEDGER_LINES_H_
#define CHOIR_NODE_LEDGER_LEDGER_LINES_H_

// The ledger's bytes: one JSON object a line, each bound to all before it.
//
//   {"hash":"<64 hexadecimal digits>","entry":{...}}
//   hash = SHA-256("choir/ledger/v1" 00, hash of the line before (32 zero bytes at first), the
//                  entry's bytes as they stand in the line)
//
// A second file, the head, says how many lines there are and the last hash, so that a ledger that
// was cut off is noticed, too. It is written after the line: it may be one line behind, and never
// ahead.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "base/sha256.h"

namespace choir::node {

struct LedgerLines {
  std::vector<std::string> entries;  // JSON, oldest first
  Digest last_hash{};                // zero for an empty ledger
  uint64_t good_bytes = 0;  // of whole lines; what follows is a line that a crash cut short
};

// The line for `entry` (JSON on one line), with its line feed; its hash goes to `hash`.
std::string LedgerLine(const Digest& previous, std::string_view entry, Digest& hash);
std::string LedgerHead(uint64_t lines, const Digest& last_hash);

// `head` is the head file's text, empty if there is none. DATA_LOSS (kDamagedLedger) names the
// first line that is changed or missing. Pure.
absl::StatusOr<LedgerLines> ReadLedgerLines(std::string_view text, std::string_view head);

}  // namespace choir::node

#endif  // CHOIR_NODE_LEDGER_LEDGER_LINES_H_
