#ifndef CHOIR_ENGINE_BACKEND_CPU_HEAD_BYPASS_H_
#define CHOIR_ENGINE_BACKEND_CPU_HEAD_BYPASS_H_

// An adapter of the output matrix within lm_head_loss: what it adds to each chunk of logits, and
// its part of the gradients. Works on the tokens that count, side by side as the loss has gathered
// them, `capacity` rows in whole blocks of `token_block`; rows without a token are zero.

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"

#include "engine/backend/cpu/cpu_kernel.h"
#include "engine/backend/cpu/dropout.h"
#include "engine/backend/cpu/weight_chunks.h"

namespace choir::engine {

// The rows that the loss works on.
struct HeadRows {
  int64_t capacity = 0;
  int64_t token_block = 0;
  int64_t vocabulary_block = 0;  // columns of a block of logits
};

class HeadBypass {
 public:
  // Nothing if the call has no adapter. `weight`: how the loss cuts the vocabulary.
  static absl::StatusOr<std::optional<HeadBypass>> Create(const CpuCall& call, const HeadRows& rows,
                                                          const WeightChunks& weight,
                                                          CpuCompiler& compiler);

  // v = 0: that of tokens that do not count.
  void ClearV() const;
  // u = drop(h) A^T; `tokens` are the rows of h that count, in their order.
  void Begin(std::span<const int64_t> tokens, CpuRun& run) const;
  // Adds lora_scale * u B^T to one block of a chunk of logits: same blocks as h W^T.
  void AddToLogits(int64_t chunk, int64_t block, int worker, float* logits, CpuRun& run) const;
  // From the chunk's dz, of which every row is there: v and dB.
  void AddGradient(int64_t chunk, const float* dz, CpuRun& run) const;
  // dh += drop(v A), and v where it belongs.
  void End(std::span<const int64_t> tokens, CpuRun& run) const;

 private:
  HeadBypass(const CpuCall& call, const HeadRows& rows, const WeightChunks& weight,
             CpuCompiler& compiler);
  absl::Status MakeProducts(GemmLibrary& gemms);
  absl::Status MakeGradientProducts(GemmLibrary& gemms);

  CpuInput h_, a_, b_;
  float scale_;
  float* dh_ = nullptr;
  float* v_ = nullptr;
  float* d_b_ = nullptr;  // null: B is not trained
  std::optional<CallDropout> dropout_;
  HeadRows rows_;
  WeightChunks weight_;
  BlockedGemm u_gemm_;
  BlockedGemm logits_gemm_[2];  // [is last chunk]
  BlockedGemm v_gemm_[3];       // first chunk (overwrites), others, last
  BlockedGemm b_gemm_[2];       // [is last chunk]
  BlockedGemm h_gemm_;
  SharedScratch wide_;  // capacity x C: drop(h), later v A
  SharedScratch u_;     // capacity x R, times lora_scale
  SharedScratch gathered_v_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_HEAD_BYPASS_H_
