#ifndef CHOIR_ENGINE_BACKEND_VULKAN_TUNING_TABLE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_TUNING_TABLE_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/backend/vulkan/product_way.h"

namespace choir::engine::vulkan {

// Results that one invocation of a product's shader holds: rows x columns (TM and TN of
// tile_multiply.glsl; kTokens of matvec.comp and 1); 1 x 1 where the shader has no such choice.
struct Block {
  uint32_t m = 0;
  uint32_t n = 0;
  friend auto operator<=>(const Block&, const Block&) = default;
};

// How to compute a product.
struct Choice {
  ProductWay way = ProductWay::kPlain;
  Block block;
  friend auto operator<=>(const Choice&, const Choice&) = default;
};

// A shader, whether it must stay in f32, and a class of sizes: products of a class are computed
// alike. `shader` is the plain one's name, whatever the choice.
struct ProductClass {
  std::string shader;
  bool exact = true;
  uint32_t rows = 0;
  uint32_t cols = 0;
  friend auto operator<=>(const ProductClass&, const ProductClass&) = default;

  // Rounds sizes up to powers of two: below twice the work, the same workgroups or half of them.
  static ProductClass Of(std::string_view shader, bool exact, int64_t rows, int64_t cols);
};

// What became of comparing a choice with the plain shader.
enum class Verdict : uint8_t {
  kTrying,  // nothing yet; read from a file: a process ended at it
  kRight,
  kWrong,
};

// The fastest choice of each class, as it was measured, and which choices give right results.
class TuningTable {
 public:
  static constexpr size_t kMaxEntries = 1024;  // of either kind

  [[nodiscard]] std::optional<Choice> Find(const ProductClass& product) const;
  // Forgets them all when the table is full: what is in use is soon there again.
  void Set(const ProductClass& product, const Choice& choice);

  [[nodiscard]] std::optional<Verdict> Checked(std::string_view shader, const Choice& choice) const;
  void SetChecked(std::string_view shader, const Choice& choice, Verdict verdict);
  // As if it had never been tried.
  void Forget(std::string_view shader, const Choice& choice);

  // For people: each shader with the ways it takes, then what was refused, and why.
  [[nodiscard]] std::vector<std::string> Describe() const;

  // A line that names `version`, then one for each entry.
  [[nodiscard]] std::string ToText(std::string_view version) const;
  // Empty if the text is of another version; leaves out what is no entry: it is measured again.
  static TuningTable FromText(std::string_view text, std::string_view version);

 private:
  using Checks = std::map<std::pair<std::string, Choice>, Verdict>;
  void ReadLine(const std::string& line);

  std::map<ProductClass, Choice> choices_;
  Checks checks_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_TUNING_TABLE_H_
