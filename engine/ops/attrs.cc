#include "engine/ops/attrs.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"

namespace choir::engine {
namespace {

using Value = std::pair<std::string_view, double>;

std::optional<double> Lookup(const std::vector<Value>& values, std::string_view name) {
  for (const Value& value : values) {
    if (value.first == name) return value.second;
  }
  return std::nullopt;
}

}  // namespace

Attrs::Attrs(std::initializer_list<Value> values) : values_(values) {
  std::sort(values_.begin(), values_.end());
  for (size_t i = 1; i < values_.size(); ++i) {
    CHOIR_CHECK(values_[i - 1].first != values_[i].first);
  }
}

double Attrs::Float(std::string_view name) const {
  const std::optional<double> value = Lookup(values_, name);
  CHOIR_CHECK(value.has_value());
  return *value;
}

int64_t Attrs::Int(std::string_view name) const {
  return std::llround(Float(name));
}

double Attrs::FloatOr(std::string_view name, double fallback) const {
  return Lookup(values_, name).value_or(fallback);
}

int64_t Attrs::IntOr(std::string_view name, int64_t fallback) const {
  return Has(name) ? Int(name) : fallback;
}

bool Attrs::Has(std::string_view name) const {
  return Lookup(values_, name).has_value();
}

Attrs Attrs::With(std::string_view name, double value) const {
  Attrs result = *this;
  for (Value& existing : result.values_) {
    if (existing.first == name) {
      existing.second = value;
      return result;
    }
  }
  result.values_.emplace_back(name, value);
  std::sort(result.values_.begin(), result.values_.end());
  return result;
}

}  // namespace choir::engine
