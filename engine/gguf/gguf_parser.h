#ifndef CHOIR_ENGINE_GGUF_GGUF_PARSER_H_
#define CHOIR_ENGINE_GGUF_GGUF_PARSER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"

namespace choir::engine {

// What a header says, every size in it checked against the file and against GgufFile's limits.
struct GgufHeader {
  uint32_t version = 0;
  uint64_t alignment = 0;
  std::vector<GgufEntry> entries;
  std::vector<GgufTensor> tensors;
};

// Reads the header of a GGUF file. Touches no tensor data; allocates in proportion to the header's
// real size, never to a number in it. Errors as GgufFile::Parse.
absl::StatusOr<GgufHeader> ParseGgufHeader(std::span<const uint8_t> file);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GGUF_GGUF_PARSER_H_
