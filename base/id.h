#ifndef CHOIR_BASE_ID_H_
#define CHOIR_BASE_ID_H_

#include <compare>
#include <cstdint>

namespace choir {

// A number that must not be mixed up with another kind of number: Id<struct RoundIdTag>.
template <typename Tag>
struct Id {
  uint64_t value = 0;
  friend auto operator<=>(const Id&, const Id&) = default;
};

}  // namespace choir

#endif  // CHOIR_BASE_ID_H_
