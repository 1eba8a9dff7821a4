#ifndef CHOIR_ENGINE_OPS_ATTENTION_RULES_H_
#define CHOIR_ENGINE_OPS_ATTENTION_RULES_H_

// What the attention ops share: which row sees which, the soft cap, and the demands on heads.

#include <cmath>
#include <cstdint>

#include "engine/ops/call_check.h"
#include "engine/ops/ops.h"

namespace choir::engine {

struct AttentionAttrs {
  int64_t head_size;
  double scale;
  int64_t window;
  double softcap;

  explicit AttentionAttrs(const Attrs& attrs)
      : head_size(attrs.Int("head_size")),
        scale(attrs.Float("scale")),
        window(attrs.Int("window")),
        softcap(attrs.Float("softcap")) {}

  // Positions only; the caller also compares segments.
  [[nodiscard]] bool Sees(int64_t i, int64_t j) const {
    return j <= i && (window == 0 || i - j < window);
  }
  [[nodiscard]] double Cap(double score) const {
    return softcap == 0 ? score : softcap * std::tanh(score / softcap);
  }
  // d Cap / d score, from the capped score.
  [[nodiscard]] double CapSlope(double capped) const {
    return softcap == 0 ? 1 : 1 - (capped / softcap) * (capped / softcap);
  }
};

// Scaled and capped score of query row `i` and key row `j` for query head `head`.
inline double AttentionScore(const AttentionAttrs& attrs, const RefTensor& q, const RefTensor& k,
                             int64_t i, int64_t j, int64_t head, int64_t kv_head) {
  double sum = 0;
  for (int64_t d = 0; d < attrs.head_size; ++d) {
    sum += q.at(i, head * attrs.head_size + d) * k.at(j, kv_head * attrs.head_size + d);
  }
  return attrs.Cap(attrs.scale * sum);
}

// Attributes, and that q's heads are a multiple of k's.
inline void CheckAttentionHeads(CallCheck& check, int64_t q_cols, int64_t kv_cols) {
  const int64_t head_size = check.Int("head_size", 1, 1024);
  check.Float("scale", 0, 1e6);
  check.Int("window", 0, CallCheck::kMaxExtent);
  check.Float("softcap", 0, 1e6);
  check.Require(q_cols % head_size == 0 && kv_cols % head_size == 0,
                "q, k and v must be whole heads of head_size columns");
  check.Require(q_cols % kv_cols == 0, "the heads of q must be a multiple of those of k and v");
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_ATTENTION_RULES_H_
