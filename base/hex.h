#ifndef CHOIR_BASE_HEX_H_
#define CHOIR_BASE_HEX_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace choir {

// Lower-case hexadecimal, two digits a byte.
std::string HexEncode(std::span<const uint8_t> bytes);

// INVALID_ARGUMENT on an odd length or a character that is no hexadecimal digit.
absl::StatusOr<std::vector<uint8_t>> HexDecode(std::string_view text);

}  // namespace choir

#endif  // CHOIR_BASE_HEX_H_
