#include <cstddef>
#include <cstdint>
#include <string_view>

#include "node/ledger/ledger_lines.h"

// The first line is the head file, the rest the ledger.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t cut = text.find('\n');
  const std::string_view head = cut == std::string_view::npos ? "" : text.substr(0, cut + 1);
  const auto lines = choir::node::ReadLedgerLines(text.substr(head.size()), head);
  if (lines.ok() && lines->good_bytes > text.size()) __builtin_trap();
  (void)choir::node::ReadLedgerLines(text, "");
  return 0;
}
