#ifndef CHOIR_ENGINE_OPS_ATTRS_H_
#define CHOIR_ENGINE_OPS_ATTRS_H_

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

namespace choir::engine {

// The constants of one call of an op, by name: {{"eps", 1e-5}, {"head_size", 64}}.
// Names must be string literals. Sorted, so that equal attributes compare equal.
class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<std::string_view, double>> values);

  // A missing name is a bug of the caller (the op's infer function checks what it needs).
  [[nodiscard]] double Float(std::string_view name) const;
  [[nodiscard]] int64_t Int(std::string_view name) const;
  [[nodiscard]] double FloatOr(std::string_view name, double fallback) const;
  [[nodiscard]] int64_t IntOr(std::string_view name, int64_t fallback) const;
  [[nodiscard]] bool Has(std::string_view name) const;
  // A copy with one more, or one changed, value.
  [[nodiscard]] Attrs With(std::string_view name, double value) const;

  friend bool operator==(const Attrs&, const Attrs&) = default;

 private:
  std::vector<std::pair<std::string_view, double>> values_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_ATTRS_H_
