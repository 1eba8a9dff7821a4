#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/file.h"
#include "coordinator/round/round_codec.h"

// What decodes must come back the same, whatever the bytes held: as a head that has all in it, and
// as parts beside a good head (the first half a part's key and value, the second another's).
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace choir::coordinator;
  const std::string bytes(choir::AsChars({data, size}));
  if (const auto state = DecodeRound(bytes, {}); state.ok()) {
    const auto again = DecodeRound(EncodeRoundHead(*state), AllParts(*state));
    CHOIR_CHECK(again.ok() && *again == *state);
  }
  RoundState one;
  one.members["node"] = {};
  one.cohorts.push_back({});
  const std::string half = bytes.substr(0, size / 2);
  const RoundPart parts[] = {{half.substr(0, 5), half.substr(half.size() < 5 ? half.size() : 5)},
                             {"c0", bytes.substr(size / 2)}};
  (void)DecodeRound(EncodeRoundHead(one), parts);
  return 0;
}
