#ifndef CHOIR_BASE_SECRET_H_
#define CHOIR_BASE_SECRET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace choir {

// Overwrites memory in a way that the compiler may not remove.
void WipeBytes(std::span<uint8_t> bytes);

// Constant-time comparison; false if the lengths differ (a length is no secret).
bool EqualConstantTime(std::span<const uint8_t> a, std::span<const uint8_t> b);

// N secret bytes: never copied, never printed, wiped on destruction and when moved from.
template <size_t N>
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::span<const uint8_t, N> bytes) {
    for (size_t i = 0; i < N; ++i) bytes_[i] = bytes[i];
  }
  ~SecretBytes() { WipeBytes(bytes_); }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  SecretBytes(SecretBytes&& other) noexcept : bytes_(other.bytes_) { WipeBytes(other.bytes_); }
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      WipeBytes(other.bytes_);
    }
    return *this;
  }

  // An explicit copy, so that a reader sees where a second one comes to be.
  [[nodiscard]] SecretBytes Clone() const { return SecretBytes(Expose()); }
  [[nodiscard]] std::span<const uint8_t, N> Expose() const { return bytes_; }
  [[nodiscard]] std::span<uint8_t, N> ExposeMutable() { return bytes_; }

 private:
  std::array<uint8_t, N> bytes_{};
};

}  // namespace choir

#endif  // CHOIR_BASE_SECRET_H_
