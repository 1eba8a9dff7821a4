#ifndef CHOIR_NODE_TASK_LEDGER_H_
#define CHOIR_NODE_TASK_LEDGER_H_

// What left this device, for its owner to read: one JSON line for each session that got a masked
// input.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace choir::node {

struct LedgerEntry {
  absl::Time time;
  std::string run_id;
  uint64_t round = 0;
  std::string session_hex;
  uint64_t masked_bytes = 0;  // what was sent, masked
  std::string outcome;        // "in the sum", or why not
};

struct LedgerTotals {
  uint64_t sessions = 0;
  uint64_t masked_bytes = 0;
  uint64_t contributed = 0;
};

// Appends and flushes. A line that a crash cut short is closed off first.
absl::Status AppendToLedger(const std::string& path, const LedgerEntry& entry);
// Adds up all whole lines. An absent ledger is empty.
absl::StatusOr<LedgerTotals> ReadLedgerTotals(const std::string& path);
// Is this session in it already? Keeps a crash between entry and clean-up from counting twice.
absl::StatusOr<bool> LedgerHasSession(const std::string& path, const std::string& session_hex);

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_LEDGER_H_
