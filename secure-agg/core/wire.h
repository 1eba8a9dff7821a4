#ifndef CHOIR_SECURE_AGG_CORE_WIRE_H_
#define CHOIR_SECURE_AGG_CORE_WIRE_H_

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

// Two archives with the same calls, so that one description of a message serves both directions and
// the two can never differ. Integers are little-endian.
namespace choir::secagg {

template <typename T>
concept WireNumber = std::unsigned_integral<T> || std::is_same_v<T, int64_t>;

// Appends. Never fails: our own messages are within the limits.
class WireWriter {
 public:
  template <WireNumber T>
  void Number(T value) {
    auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<uint8_t>(bits & 0xff));
      bits = static_cast<std::make_unsigned_t<T>>(sizeof(T) > 1 ? uint64_t{bits} >> 8 : 0);
    }
  }
  void Real(double value) { Number(std::bit_cast<uint64_t>(value)); }
  template <typename E>
  requires std::is_enum_v<E>
  void Enum(E value, uint8_t /*first*/, uint8_t /*last*/) { Number(static_cast<uint8_t>(value)); }
  template <size_t N>
  void Fixed(const std::array<uint8_t, N>& value) {
    Raw(value);
  }
  void Text(const std::string& value, uint32_t /*min*/, uint32_t /*max*/) {
    Number(static_cast<uint32_t>(value.size()));
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void Blob(const std::vector<uint8_t>& value, uint32_t /*max*/) {
    Number(static_cast<uint32_t>(value.size()));
    Raw(value);
  }
  template <typename T, typename Each>
  void List(const std::vector<T>& items, uint32_t /*max*/, Each each) {
    Number(static_cast<uint32_t>(items.size()));
    for (const T& item : items) each(*this, item);
  }
  void Raw(std::span<const uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  // For secrets: room for all that follows, so that growing leaves no copies behind.
  void Reserve(size_t bytes) { bytes_.reserve(bytes); }
  [[nodiscard]] std::vector<uint8_t> Take() && { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

// Reads, with every length checked before use. The first failure sticks: later reads give zeros,
// and ok() is false. Lists grow as their items are read, so a lying count allocates nothing.
class WireReader {
 public:
  explicit WireReader(std::span<const uint8_t> bytes) : rest_(bytes) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool AtEnd() const { return ok_ && rest_.empty(); }
  void Fail() { ok_ = false; }

  template <WireNumber T>
  void Number(T& value) {
    const std::span<const uint8_t> bytes = Get(sizeof(T));
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes.size(); ++i) bits |= uint64_t{bytes[i]} << (8 * i);
    value = static_cast<T>(bits);
  }
  void Real(double& value) {
    uint64_t bits = 0;
    Number(bits);
    value = std::bit_cast<double>(bits);
  }
  template <typename E>
  requires std::is_enum_v<E>
  void Enum(E& value, uint8_t first, uint8_t last) {
    uint8_t number = 0;
    Number(number);
    if (number < first || number > last) return Fail();
    value = static_cast<E>(number);
  }
  template <size_t N>
  void Fixed(std::array<uint8_t, N>& value) {
    const std::span<const uint8_t> bytes = Get(N);
    for (size_t i = 0; i < bytes.size(); ++i) value[i] = bytes[i];
  }
  void Text(std::string& value, uint32_t min, uint32_t max) {
    const std::span<const uint8_t> bytes = GetCounted(max);
    if (bytes.size() < min) return Fail();
    value.assign(bytes.begin(), bytes.end());
  }
  void Blob(std::vector<uint8_t>& value, uint32_t max) {
    const std::span<const uint8_t> bytes = GetCounted(max);
    value.assign(bytes.begin(), bytes.end());
  }
  template <typename T, typename Each>
  void List(std::vector<T>& items, uint32_t max, Each each) {
    uint32_t count = 0;
    Number(count);
    if (count > max) return Fail();
    for (uint32_t i = 0; i < count && ok_; ++i) each(*this, items.emplace_back());
  }
  // The next `size` bytes; empty, and a failure, if fewer are left.
  std::span<const uint8_t> Get(size_t size) {
    if (!ok_ || size > rest_.size()) {
      Fail();
      return {};
    }
    const std::span<const uint8_t> bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return bytes;
  }

 private:
  std::span<const uint8_t> GetCounted(uint32_t max) {
    uint32_t size = 0;
    Number(size);
    if (size > max) Fail();
    return Get(size);
  }

  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_WIRE_H_
