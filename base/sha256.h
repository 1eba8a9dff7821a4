#ifndef CHOIR_BASE_SHA256_H_
#define CHOIR_BASE_SHA256_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace choir {

// A SHA-256 digest (FIPS 180-4). The name of a blob, a model, a configuration.
using Digest = std::array<uint8_t, 32>;

// Incremental SHA-256. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& Update(std::span<const uint8_t> bytes);
  Sha256& Update(std::string_view bytes);
  // Little-endian, eight bytes.
  Sha256& UpdateU64(uint64_t value);
  // The digest of all bytes so far; the object may go on being updated.
  [[nodiscard]] Digest Finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest Sha256Of(std::span<const uint8_t> bytes);
Digest Sha256Of(std::string_view bytes);

// Reads the file in pieces. NOT_FOUND, or the error of the read.
absl::StatusOr<Digest> Sha256OfFile(const std::string& path);

std::string DigestToHex(const Digest& digest);
// INVALID_ARGUMENT unless `text` is 64 hexadecimal digits.
absl::StatusOr<Digest> DigestFromHex(std::string_view text);

}  // namespace choir

#endif  // CHOIR_BASE_SHA256_H_
