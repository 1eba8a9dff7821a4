#ifndef CHOIR_ENGINE_BACKEND_CPU_ROPE_TABLES_H_
#define CHOIR_ENGINE_BACKEND_CPU_ROPE_TABLES_H_

// Sines and cosines of rotary embeddings (Su et al. 2021), computed once a run and shared by all
// layers: they depend on the positions only.

#include <cstdint>
#include <memory>
#include <vector>

namespace choir::engine {

// What makes two tables equal. `factors`, if not null, has n_rot/2 values.
struct RopeKey {
  const int32_t* positions = nullptr;
  int64_t num_positions = 0;
  int64_t n_rot = 0;
  double base = 0;
  double pos_scale = 1;
  const uint8_t* factors_data = nullptr;  // identity only

  friend bool operator==(const RopeKey&, const RopeKey&) = default;
};

class RopeTable {
 public:
  RopeTable(const RopeKey& key, const std::vector<float>& factors);
  // Brings the table up to date with the positions, the first time in each run.
  void Update(uint64_t run_number);
  // cos and sin of pair i at token t: [t * n_rot/2 + i].
  [[nodiscard]] const float* cosines() const { return cosines_.data(); }
  [[nodiscard]] const float* sines() const { return sines_.data(); }
  [[nodiscard]] uint64_t size_bytes() const;

 private:
  friend class RopeTables;

  RopeKey key_;
  std::vector<double> frequencies_;
  std::vector<float> cosines_;
  std::vector<float> sines_;
  uint64_t run_number_ = 0;
};

// The tables of one executable.
class RopeTables {
 public:
  // `factors`: n_rot/2 divisors of the angles, or empty. The table lives as long as this object.
  RopeTable* Get(const RopeKey& key, const std::vector<float>& factors);
  [[nodiscard]] uint64_t size_bytes() const;

 private:
  std::vector<std::unique_ptr<RopeTable>> tables_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_ROPE_TABLES_H_
