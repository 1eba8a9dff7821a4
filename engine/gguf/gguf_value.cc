#include "engine/gguf/gguf_value.h"

#include <array>
#include <cstddef>

namespace choir::engine {
namespace {

struct TypeTraits {
  std::string_view name;
  uint64_t bytes;
};
constexpr std::array<TypeTraits, 13> kTraits = {{{"u8", 1},
                                                 {"i8", 1},
                                                 {"u16", 2},
                                                 {"i16", 2},
                                                 {"u32", 4},
                                                 {"i32", 4},
                                                 {"f32", 4},
                                                 {"bool", 1},
                                                 {"string", 0},
                                                 {"array", 0},
                                                 {"u64", 8},
                                                 {"i64", 8},
                                                 {"f64", 8}}};

}  // namespace

std::string_view GgufTypeName(GgufType type) {
  return kTraits[static_cast<size_t>(type)].name;
}

uint64_t GgufTypeBytes(GgufType type) {
  return kTraits[static_cast<size_t>(type)].bytes;
}

}  // namespace choir::engine
