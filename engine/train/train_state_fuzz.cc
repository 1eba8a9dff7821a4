#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/sha256.h"
#include "engine/train/train_state.h"

// Any bytes are an error or a state that is written back as the same bytes. The checksum would stop
// the fuzzer at the door, so it is repaired for a second try.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using choir::engine::ParseTrainState;
  using choir::engine::SerializeTrainState;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (const auto state = ParseTrainState(bytes); state.ok()) {
    CHOIR_CHECK(SerializeTrainState(*state) == bytes);
  }
  const choir::Digest digest = choir::Sha256Of(bytes);
  bytes.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  if (const auto state = ParseTrainState(bytes); state.ok()) {
    CHOIR_CHECK(SerializeTrainState(*state) == bytes);
  }
  return 0;
}
