#include "privacy/mechanism.h"

#include <algorithm>
#include <array>
#include <utility>

namespace choir::privacy {
namespace {

constexpr std::array<std::pair<Mechanism, std::string_view>, 4> kNames = {{
    {Mechanism::kNone, "none"},
    {Mechanism::kDiscreteGaussian, "discrete-gaussian"},
    {Mechanism::kSkellam, "skellam"},
    {Mechanism::kCentralGaussian, "central-gaussian"},
}};

}  // namespace

std::string_view MechanismName(Mechanism mechanism) {
  const auto it =
      std::ranges::find(kNames, mechanism, [](const auto& entry) { return entry.first; });
  return it == kNames.end() ? "unknown" : it->second;
}

std::optional<Mechanism> MechanismFromName(std::string_view name) {
  const auto it = std::ranges::find(kNames, name, [](const auto& entry) { return entry.second; });
  if (it == kNames.end()) return std::nullopt;
  return it->first;
}

bool IsKnown(Mechanism mechanism) {
  return std::ranges::any_of(kNames, [&](const auto& entry) { return entry.first == mechanism; });
}

}  // namespace choir::privacy
