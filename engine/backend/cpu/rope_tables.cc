#include "engine/backend/cpu/rope_tables.h"

#include <cmath>

namespace choir::engine {

RopeTable::RopeTable(const RopeKey& key, const std::vector<float>& factors) : key_(key) {
  const int64_t pairs = key.n_rot / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(key.n_rot);
    const double factor =
        factors.empty() ? 1.0 : static_cast<double>(factors[static_cast<size_t>(i)]);
    frequencies_.push_back(key.pos_scale * std::pow(key.base, exponent) / factor);
  }
  const auto size = static_cast<size_t>(key.num_positions * pairs);
  cosines_.resize(size);
  sines_.resize(size);
}

void RopeTable::Update(uint64_t run_number) {
  if (run_number_ == run_number) return;
  run_number_ = run_number;
  size_t at = 0;
  for (int64_t t = 0; t < key_.num_positions; ++t) {
    // In double: at position 100,000 an f32 angle would be off by a thousandth of a turn.
    const auto position = static_cast<double>(key_.positions[t]);
    for (const double frequency : frequencies_) {
      cosines_[at] = static_cast<float>(std::cos(position * frequency));
      sines_[at] = static_cast<float>(std::sin(position * frequency));
      ++at;
    }
  }
}

uint64_t RopeTable::size_bytes() const {
  return frequencies_.size() * sizeof(double) + (cosines_.size() + sines_.size()) * sizeof(float);
}

RopeTable* RopeTables::Get(const RopeKey& key, const std::vector<float>& factors) {
  for (const auto& table : tables_) {
    if (table->key_ == key) return table.get();
  }
  return tables_.emplace_back(std::make_unique<RopeTable>(key, factors)).get();
}

uint64_t RopeTables::size_bytes() const {
  uint64_t total = 0;
  for (const auto& table : tables_) total += table->size_bytes();
  return total;
}

}  // namespace choir::engine
