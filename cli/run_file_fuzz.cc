// Run files and node configurations are written by hand and passed around: any text must be refused
// or understood.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cli/run_file.h"
#include "node/policy/owner_policy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)choir::cli::ParseRunFile(text, "run.toml");
  (void)choir::node::ParseOwnerPolicy(text, "node.toml");
  return 0;
}
