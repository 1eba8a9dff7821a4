#include "engine/model/architecture.h"

#include <fmt/format.h>

#include "engine/model/architectures.h"

namespace choir::engine {
namespace {

constexpr const Architecture* kArchitectures[] = {
#define CHOIR_ARCHITECTURE(Name, file) &k##Name##Architecture,
#include "engine/model/architectures.def"
#undef CHOIR_ARCHITECTURE
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
