#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/file.h"
#include "coordinator/strategy/server_optimizer.h"

// What parses is written back as the same bytes, but for the order of its entries.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto state = choir::coordinator::ParseServerState(choir::AsChars({data, size}));
  if (!state.ok()) return 0;
  const std::string bytes = choir::coordinator::SerializeServerState(*state);
  CHOIR_CHECK(bytes.size() == size);
  const auto again = choir::coordinator::ParseServerState(bytes);
  CHOIR_CHECK(again.ok() && choir::coordinator::SerializeServerState(*again) == bytes);
  return 0;
}
