#include "engine/model/architecture.h"

#include <fmt/format.h>

#include "engine/model/architectures.h"

namespace choir::engine {
namespace {

constexpr const Architecture* kArchitectures[] = {
    &kBitnetArchitecture, &kBitnet158Architecture, &kGemma3Architecture,
    &kLlamaArchitecture,  &kQwen2Architecture,     &kQwen3Architecture,
};

}  // namespace

std::span<const Architecture* const> AllArchitectures() {
  return kArchitectures;
}

absl::StatusOr<const Architecture*> FindArchitecture(std::string_view name) {
  std::string known;
  for (const Architecture* architecture : kArchitectures) {
    if (architecture->name == name) return architecture;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", architecture->name);
  }
  return absl::UnimplementedError(
      fmt::format("general.architecture is \"{}\"; this build knows {}", name, known));
}

}  // namespace choir::engine
