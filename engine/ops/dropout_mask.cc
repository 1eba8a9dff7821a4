#include "engine/ops/dropout_mask.h"

#include <cmath>

namespace choir::engine {
namespace {

constexpr int64_t kMaxSites = int64_t{1} << 20;

}  // namespace

PhiloxBlock Philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  // The paper's multipliers, and Weyl increments (the golden ratio and sqrt(3) - 1).
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;
  constexpr uint32_t kWeyl1 = 0xBB67AE85;
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

DropoutMask DropoutMask::Of(const Attrs& attrs) {
  const double rate = attrs.Float("dropout");
  DropoutMask mask;
  mask.site = static_cast<uint32_t>(attrs.Int("dropout_site"));
  mask.threshold = static_cast<uint32_t>(std::ldexp(rate, 32));
  mask.scale = static_cast<float>(1 / (1 - rate));
  return mask;
}

DropoutMask DropoutMask::With(const int32_t* key) const {
  DropoutMask mask = *this;
  mask.seed = {static_cast<uint32_t>(key[0]), static_cast<uint32_t>(key[1])};
  mask.micro_batch = static_cast<uint32_t>(key[2]);
  return mask;
}

RefTensor DropoutMask::Apply(const RefTensor& x) const {
  RefTensor out = x;
  for (int64_t row = 0; row < x.shape.rows; ++row) {
    for (int64_t col = 0; col < x.shape.cols; ++col) {
      const PhiloxBlock words = Words(static_cast<uint32_t>(row), static_cast<uint32_t>(col / 4));
      const bool kept = words[static_cast<size_t>(col % 4)] >= threshold;
      out.at(row, col) = kept ? static_cast<double>(scale) * x.at(row, col) : 0;
    }
  }
  return out;
}

Attrs WithDropoutOf(const Attrs& call, Attrs attrs) {
  if (!HasDropout(call)) return attrs;
  return attrs.With("dropout", call.Float("dropout"))
      .With("dropout_site", call.Float("dropout_site"));
}

void CheckDropout(const Attrs& attrs, size_t key, CallCheck& check) {
  if (!attrs.Has("dropout")) return;
  check.Float("dropout", 0, kMaxDropout);
  if (!HasDropout(attrs)) return;
  check.Int("dropout_site", 0, kMaxSites);
  check.IsI32(key, "key", 1, kDropoutKeyWords);
}

}  // namespace choir::engine
