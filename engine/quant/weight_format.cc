#include "engine/quant/weight_format.h"

#include <string>

#include <fmt/format.h>

namespace choir::engine {
namespace {

constexpr const WeightFormat* kFormats[] = {
#define CHOIR_WEIGHT_FORMAT(Name) &k##Name##Format,
#include "engine/quant/formats.def"
#undef CHOIR_WEIGHT_FORMAT
};

}  // namespace

std::span<const WeightFormat* const> AllWeightFormats() {
  return kFormats;
}

const WeightFormat* FindWeightFormat(uint32_t type_id) {
  for (const WeightFormat* format : kFormats) {
    if (format->type_id == type_id) return format;
  }
  return nullptr;
}

const WeightFormat* FindWeightFormat(std::string_view name) {
  for (const WeightFormat* format : kFormats) {
    if (format->name == name) return format;
  }
  return nullptr;
}

absl::StatusOr<const WeightFormat*> GetWeightFormat(uint32_t type_id) {
  const WeightFormat* format = FindWeightFormat(type_id);
  if (format != nullptr) return format;
  std::string names;
  for (const WeightFormat* known : kFormats) {
    if (!names.empty()) names += ", ";
    names += known->name;
  }
  return absl::UnimplementedError(
      fmt::format("weights of GGUF type {} are not supported; these are: {}", type_id, names));
}

}  // namespace choir::engine
