#include "engine/backend/vulkan/tuning_table.h"

#include <algorithm>
#include <bit>
#include <sstream>

#include <fmt/format.h>

namespace choir::engine::vulkan {
namespace {

// A name longer than any shader's, and sizes beyond any product's, are damage.
constexpr size_t kMaxNameBytes = 64;
constexpr uint32_t kMaxSize = 1u << 31;
constexpr uint32_t kMaxBlock = 64;

uint32_t SizeClass(int64_t size) {
  const auto bounded = static_cast<uint32_t>(std::clamp<int64_t>(size, 1, kMaxSize));
  return std::bit_ceil(bounded);
}

bool IsEntry(const ProductClass& product, const Block& block) {
  return product.shader.size() <= kMaxNameBytes && std::has_single_bit(product.rows) &&
         std::has_single_bit(product.cols) && block.m > 0 && block.m <= kMaxBlock && block.n > 0 &&
         block.n <= kMaxBlock;
}

}  // namespace

ProductClass ProductClass::Of(std::string_view shader, int64_t rows, int64_t cols) {
  return {std::string(shader), SizeClass(rows), SizeClass(cols)};
}

std::optional<Block> TuningTable::Find(const ProductClass& product) const {
  const auto found = blocks_.find(product);
  if (found == blocks_.end()) return std::nullopt;
  return found->second;
}

void TuningTable::Set(const ProductClass& product, Block block) {
  if (blocks_.size() >= kMaxEntries) blocks_.clear();
  blocks_[product] = block;
}

std::string TuningTable::ToText() const {
  std::string text;
  for (const auto& [product, block] : blocks_) {
    text += fmt::format("{} {} {} {} {}\n", product.shader, product.rows, product.cols, block.m,
                        block.n);
  }
  return text;
}

TuningTable TuningTable::FromText(std::string_view text) {
  TuningTable table;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line) && table.blocks_.size() < kMaxEntries;) {
    std::istringstream fields(line);
    ProductClass product;
    Block block;
    std::string rest;
    fields >> product.shader >> product.rows >> product.cols >> block.m >> block.n;
    if (fields.fail() || fields >> rest || !IsEntry(product, block)) continue;
    table.blocks_[product] = block;
  }
  return table;
}

}  // namespace choir::engine::vulkan
