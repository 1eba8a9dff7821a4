#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/file.h"
#include "coordinator/round/round_codec.h"

// What decodes must come back the same, whatever the file held.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto state = choir::coordinator::DecodeRound(choir::AsChars({data, size}));
  if (!state.ok()) return 0;
  const auto again = choir::coordinator::DecodeRound(choir::coordinator::EncodeRound(*state));
  CHOIR_CHECK(again.ok() && *again == *state);
  return 0;
}
