#ifndef CHOIR_SECURE_AGG_CORE_SECRET_BUFFER_H_
#define CHOIR_SECURE_AGG_CORE_SECRET_BUFFER_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/secret.h"

namespace choir::secagg {

// Secret bytes of a length known only at run time (a journal): never copied, wiped at the end.
class SecretBuffer {
 public:
  SecretBuffer() = default;
  explicit SecretBuffer(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  ~SecretBuffer() { WipeBytes(bytes_); }
  SecretBuffer(const SecretBuffer&) = delete;
  SecretBuffer& operator=(const SecretBuffer&) = delete;
  SecretBuffer(SecretBuffer&& other) noexcept : bytes_(std::move(other.bytes_)) {
    other.bytes_.clear();
  }
  SecretBuffer& operator=(SecretBuffer&& other) noexcept {
    if (this != &other) {
      WipeBytes(bytes_);
      bytes_ = std::move(other.bytes_);
      other.bytes_.clear();
    }
    return *this;
  }
  [[nodiscard]] std::span<const uint8_t> Expose() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_SECRET_BUFFER_H_
