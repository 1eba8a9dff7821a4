#ifndef CHOIR_ENGINE_BACKEND_VULKAN_TUNING_TABLE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_TUNING_TABLE_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace choir::engine::vulkan {

// Results that one invocation of a product's shader holds: rows x columns (TM and TN of
// tile_multiply.glsl).
struct Block {
  uint32_t m = 0;
  uint32_t n = 0;
  friend auto operator<=>(const Block&, const Block&) = default;
};

// A shader and a class of sizes: products of a class take the same block.
struct ProductClass {
  std::string shader;
  uint32_t rows = 0;
  uint32_t cols = 0;
  friend auto operator<=>(const ProductClass&, const ProductClass&) = default;

  // Rounds sizes up to powers of two: below twice the work, the same workgroups or half of them.
  static ProductClass Of(std::string_view shader, int64_t rows, int64_t cols);
};

// The fastest block of each class, as it was measured.
class TuningTable {
 public:
  static constexpr size_t kMaxEntries = 1024;

  [[nodiscard]] std::optional<Block> Find(const ProductClass& product) const;
  // Forgets it all when the table is full: what is in use is soon there again.
  void Set(const ProductClass& product, Block block);

  // A line an entry: shader, rows, columns, m, n.
  [[nodiscard]] std::string ToText() const;
  // Leaves out what is no entry: it is measured again.
  static TuningTable FromText(std::string_view text);

 private:
  std::map<ProductClass, Block> blocks_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_TUNING_TABLE_H_
