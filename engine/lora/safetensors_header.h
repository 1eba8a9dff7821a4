#ifndef CHOIR_ENGINE_LORA_SAFETENSORS_HEADER_H_
#define CHOIR_ENGINE_LORA_SAFETENSORS_HEADER_H_

// The JSON header of a safetensors file, read event by event: nothing is kept but what the format
// allows, so that a hostile header cannot make the reader allocate a multiple of the file.

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace choir::engine {

// One entry as written, not yet checked against the file's size.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  uint32_t num_dims = 0;
  std::array<uint64_t, 4> shape = {1, 1, 1, 1};
  std::array<uint64_t, 2> offsets = {0, 0};
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the header's order
  std::map<std::string, std::string> metadata;
};

// DATA_LOSS: no JSON, a repeated name or field, a missing field, a number that is no count.
// INVALID_ARGUMENT: an unknown field, or more names, axes or characters than the limits allow.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_SAFETENSORS_HEADER_H_
