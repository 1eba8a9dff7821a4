#ifndef CHOIR_PRIVACY_MECHANISM_H_
#define CHOIR_PRIVACY_MECHANISM_H_

// How the sum of a cohort's updates is made differentially private.

#include <cstdint>
#include <optional>
#include <string_view>

namespace choir::privacy {

// The numbers are part of the wire format (docs/protocol.md).
enum class Mechanism : uint8_t {
  kNone = 0,
  kDiscreteGaussian = 1,  // each node adds its part of the noise before masking
  kSkellam = 2,           // the same with differences of two Poisson numbers
  kCentralGaussian = 3,   // the coordinator adds the noise: it sees the sum without it
};

// "none", "discrete-gaussian", "skellam", "central-gaussian".
std::string_view MechanismName(Mechanism mechanism);
std::optional<Mechanism> MechanismFromName(std::string_view name);
bool IsKnown(Mechanism mechanism);

// The nodes add the noise: nobody ever has the sum without it.
constexpr bool IsDistributed(Mechanism mechanism) {
  return mechanism == Mechanism::kDiscreteGaussian || mechanism == Mechanism::kSkellam;
}

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_MECHANISM_H_
