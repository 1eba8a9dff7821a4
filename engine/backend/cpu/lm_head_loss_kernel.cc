// lm_head_loss: projection to the vocabulary, cross-entropy and its gradient, in one pass over the
// rows of W. For each chunk of the vocabulary the logits of the tokens that count are made, turned
// into softmax numerators under a running maximum (the online softmax of Milakov and Gimelshein
// 2018), and multiplied back with the same chunk of W:
//   dh_t = scale w_t (sum_v p_v W_v / sum_v p_v - W_target).
//
// With an adapter of W the gradient of each logit itself is needed (dB, v), which the whole sum
// must precede: the logits are made twice, and the second time become their gradient.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/lm_head_loss_kernel.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include <cmath>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/cpu/blocking.h"
#include "engine/backend/cpu/head_bypass.h"
#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/backend/cpu/weight_chunks.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

float CapAndFindMax(float* z, float softcap, size_t n) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  if (softcap != 0) {
    ForEachVector(n, [=](auto tag, size_t i) HWY_ATTR {
      const auto scaled = hn::Mul(hn::LoadU(tag, z + i), hn::Set(tag, 1.0F / softcap));
      hn::StoreU(hn::Mul(hn::Set(tag, softcap), hn::Tanh(tag, scaled)), tag, z + i);
    });
  }
  auto max_vector = hn::Set(d, z[0]);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) max_vector = hn::Max(max_vector, hn::LoadU(d, z + i));
  float max = hn::GetLane(hn::MaxOfLanes(d, max_vector));
  for (; i < n; ++i) max = std::max(max, z[i]);
  return max;
}

// z = exp(z - max), times the soft cap's slope; returns the sum without the slope.
float ExpAndSum(float* z, float max, float softcap, size_t n) {
  return SumOverVectors(n, [=](auto d, size_t i) HWY_ATTR {
    const auto logit = hn::LoadU(d, z + i);
    const auto p = hn::Exp(d, hn::Sub(logit, hn::Set(d, max)));
    auto stored = p;
    if (softcap != 0) {
      const auto ratio = hn::Mul(logit, hn::Set(d, 1.0F / softcap));
      stored = hn::Mul(p, hn::NegMulAdd(ratio, ratio, hn::Set(d, 1.0F)));
    }
    hn::StoreU(stored, d, z + i);
    return p;
  });
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(CapAndFindMax);
HWY_EXPORT(ExpAndSum);

// Vocabulary rows at a time: logits of 256 tokens then take 2 MiB, and stay in the cache.
constexpr int64_t kChunkRows = 2048;
constexpr int64_t kTokenBlock = 64;
constexpr int64_t kVocabularyBlock = 256;

// Where one token that counts stands while the vocabulary goes by.
struct TokenState {
  int64_t token = -1;
  int64_t target = -1;
  float max = 0;
  double sum = 0;
  float target_logit = 0;
};

class LmHeadLoss {
 public:
  static absl::StatusOr<std::shared_ptr<LmHeadLoss>> Create(const CpuCall& call,
                                                            CpuCompiler& compiler);
  absl::Status Run(CpuRun& run);

 private:
  LmHeadLoss(const CpuCall& call, CpuCompiler& compiler);
  absl::Status MakeProducts(GemmLibrary& gemms);
  absl::Status GatherTokens(CpuRun& run);
  void MakeLogits(int64_t chunk, const void* w, CpuRun& run);
  void UpdateSoftmax(int64_t chunk, CpuRun& run);
  void UpdateRow(int64_t row, int64_t chunk, CpuRun& run);
  void AddGradient(int64_t chunk, const void* w, CpuRun& run);
  void Finish(CpuRun& run);
  // With an adapter: the second pass.
  void MakeLogitGradients(int64_t chunk, CpuRun& run);
  void RunBypassGradient(CpuRun& run);
  [[nodiscard]] bool OnePass() const { return !bypass_.has_value(); }
  const float* TargetRow(int64_t target, int worker, CpuRun& run) const;

  // Rows that the products work on: whole blocks of tokens.
  [[nodiscard]] int64_t ActiveBlocks() const {
    return (num_active_ + token_block_ - 1) / token_block_;
  }

  CpuInput h_;
  CpuInput targets_, weights_, scale_;
  float* nll_;
  float* dh_ = nullptr;  // null: no gradient
  float softcap_;
  GemmType type_;
  int64_t tokens_, channels_, vocabulary_;
  int64_t token_block_, capacity_;  // tokens, rounded up to whole blocks
  WeightChunks weight_;
  WeightRows weight_rows_;
  BlockedGemm logits_gemm_[2];    // [is last chunk]
  BlockedGemm gradient_gemm_[3];  // first chunk (overwrites), others, last
  SharedScratch gathered_, logits_, probabilities_, gradient_;
  WorkerScratch row_;
  std::vector<TokenState> states_;
  std::vector<int64_t> active_;  // tokens that count
  int64_t num_active_ = 0;
  std::optional<HeadBypass> bypass_;
};

LmHeadLoss::LmHeadLoss(const CpuCall& call, CpuCompiler& compiler)
    : h_(call.inputs[0]),
      targets_(call.inputs[2]),
      weights_(call.inputs[3]),
      scale_(call.inputs[4]),
      nll_(call.outputs[0].f32()),
      softcap_(static_cast<float>(call.attrs.FloatOr("softcap", 0))),
      type_(compiler.weight_products()),
      tokens_(h_.rows()),
      channels_(h_.cols()),
      vocabulary_(call.inputs[1].rows()),
      token_block_(std::min(kTokenBlock, tokens_)),
      capacity_((tokens_ + token_block_ - 1) / token_block_ * token_block_),
      weight_(call.inputs[1], type_, kChunkRows, compiler),
      weight_rows_(call.inputs[1]),
      states_(static_cast<size_t>(capacity_)) {
  if (call.attrs.Int("with_grad") == 1) dh_ = call.outputs[1].f32();
  const int64_t chunk_elements = capacity_ * weight_.chunk_rows();
  gathered_ = compiler.ReserveShared(capacity_ * channels_ * ElementBytes(type_));
  logits_ = compiler.ReserveShared(chunk_elements * 4);
  row_ = compiler.ReservePerWorker(channels_ * 4);
  if (dh_ == nullptr) return;
  gradient_ = compiler.ReserveShared(capacity_ * channels_ * 4);
  if (type_ == GemmType::kBf16) probabilities_ = compiler.ReserveShared(chunk_elements * 2);
}

absl::Status LmHeadLoss::MakeProducts(GemmLibrary& gemms) {
  const int64_t chunks = weight_.num_chunks();
  const int64_t stride = weight_.chunk_rows();
  GemmShape logits{.m = capacity_,
                   .k = channels_,
                   .lda = channels_,
                   .ldb = channels_,
                   .ldc = stride,
                   .transpose_b = true,
                   .type = type_};
  for (const bool last : {false, true}) {
    logits.n = weight_.Rows(last ? chunks - 1 : 0);
    CHOIR_ASSIGN_OR_RETURN(logits_gemm_[last],
                           BlockedGemm::Create(gemms, logits, token_block_, kVocabularyBlock));
  }
  GemmShape gradient{.m = capacity_,
                     .n = channels_,
                     .lda = stride,
                     .ldb = channels_,
                     .ldc = channels_,
                     .type = type_};
  for (int i = 0; i < 3 && dh_ != nullptr; ++i) {
    gradient.k = weight_.Rows(i == 2 ? chunks - 1 : 0);
    gradient.accumulate = i != 0;
    CHOIR_ASSIGN_OR_RETURN(gradient_gemm_[i], BlockedGemm::Create(gemms, gradient, token_block_,
                                                                  BlockColumns(channels_)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<LmHeadLoss>> LmHeadLoss::Create(const CpuCall& call,
                                                               CpuCompiler& compiler) {
  std::shared_ptr<LmHeadLoss> kernel(new LmHeadLoss(call, compiler));
  CHOIR_RETURN_IF_ERROR(kernel->MakeProducts(compiler.gemms()));
  const HeadRows rows{.capacity = kernel->capacity_,
                      .token_block = kernel->token_block_,
                      .vocabulary_block = kVocabularyBlock};
  CHOIR_ASSIGN_OR_RETURN(kernel->bypass_,
                         HeadBypass::Create(call, rows, kernel->weight_, compiler));
  return kernel;
}

// Copies the rows of h that count side by side; the last block is filled up with zero rows.
absl::Status LmHeadLoss::GatherTokens(CpuRun& run) {
  num_active_ = 0;
  active_.clear();
  for (int64_t t = 0; t < tokens_; ++t) {
    if (weights_.f32()[t] == 0) continue;
    const int64_t target = targets_.i32()[t];
    if (target < 0 || target >= vocabulary_) {
      return absl::InvalidArgumentError(fmt::format(
          "target {} of token {} is outside the vocabulary of {}", target, t, vocabulary_));
    }
    states_[static_cast<size_t>(num_active_++)] = {.token = t, .target = target};
    active_.push_back(t);
  }
  const auto row_bytes = static_cast<size_t>(channels_ * ElementBytes(type_));
  for (int64_t i = 0; i < ActiveBlocks() * token_block_; ++i) {
    auto* const row = run.Get<uint8_t>(gathered_) + static_cast<size_t>(i) * row_bytes;
    if (i >= num_active_) {
      states_[static_cast<size_t>(i)] = {};
      std::memset(row, 0, row_bytes);
      continue;
    }
    const float* const source = h_.f32() + states_[static_cast<size_t>(i)].token * channels_;
    if (type_ == GemmType::kF32) {
      std::memcpy(row, source, row_bytes);
    } else {
      ConvertToBf16(source, reinterpret_cast<uint16_t*>(row), static_cast<size_t>(channels_));
    }
  }
  return absl::OkStatus();
}

void LmHeadLoss::MakeLogits(int64_t chunk, const void* w, CpuRun& run) {
  const BlockedGemm& gemm = logits_gemm_[chunk + 1 == weight_.num_chunks()];
  const int64_t blocks = gemm.num_blocks() / (capacity_ / token_block_) * ActiveBlocks();
  run.ParallelFor(blocks, [&](int64_t block, int worker) {
    gemm.RunBlock(block, worker, run.Get<uint8_t>(gathered_), w, run.Get<float>(logits_));
    if (bypass_) bypass_->AddToLogits(chunk, block, worker, run.Get<float>(logits_), run);
  });
}

void LmHeadLoss::UpdateRow(int64_t row, int64_t chunk, CpuRun& run) {
  TokenState& state = states_[static_cast<size_t>(row)];
  const int64_t rows = weight_.Rows(chunk);
  const auto count = static_cast<size_t>(rows);
  float* const z = run.Get<float>(logits_) + row * weight_.chunk_rows();
  const float chunk_max = HWY_DYNAMIC_DISPATCH(CapAndFindMax)(z, softcap_, count);
  const int64_t target = state.target - weight_.Begin(chunk);
  if (target >= 0 && target < rows) state.target_logit = z[target];
  if (chunk == 0) {
    state.max = chunk_max;
  } else if (chunk_max > state.max) {
    const float factor = std::exp(state.max - chunk_max);
    state.sum *= static_cast<double>(factor);
    if (dh_ != nullptr && OnePass()) {
      float* const gradient = run.Get<float>(gradient_) + row * channels_;
      ScaleVector(gradient, factor, gradient, static_cast<size_t>(channels_));
    }
    state.max = chunk_max;
  }
  state.sum += static_cast<double>(HWY_DYNAMIC_DISPATCH(ExpAndSum)(z, state.max, softcap_, count));
  if (dh_ != nullptr && OnePass() && type_ == GemmType::kBf16) {
    ConvertToBf16(z, run.Get<uint16_t>(probabilities_) + row * weight_.chunk_rows(), count);
  }
}

void LmHeadLoss::UpdateSoftmax(int64_t chunk, CpuRun& run) {
  run.ParallelRanges(ActiveBlocks() * token_block_, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) UpdateRow(row, chunk, run);
  });
}

void LmHeadLoss::AddGradient(int64_t chunk, const void* w, CpuRun& run) {
  const bool last = chunk + 1 == weight_.num_chunks();
  const BlockedGemm& gemm = gradient_gemm_[chunk == 0 ? 0 : last ? 2 : 1];
  const int64_t blocks = gemm.num_blocks() / (capacity_ / token_block_) * ActiveBlocks();
  const void* const p =
      type_ == GemmType::kF32 ? run.Get<uint8_t>(logits_) : run.Get<uint8_t>(probabilities_);
  run.ParallelFor(blocks, [&](int64_t block, int worker) {
    gemm.RunBlock(block, worker, p, w, run.Get<float>(gradient_));
  });
}

// W_target as the products see it: where the softmax is all on the target, the two must cancel.
const float* LmHeadLoss::TargetRow(int64_t target, int worker, CpuRun& run) const {
  auto* const buffer = run.Get<float>(row_, worker);
  const float* const row = weight_rows_.Row(target, buffer);
  if (type_ == GemmType::kF32) return row;
  RoundToBf16(row, buffer, static_cast<size_t>(channels_));
  return buffer;
}

void LmHeadLoss::Finish(CpuRun& run) {
  weight_rows_.ForEachLookup(num_active_, run, [&](int64_t row, int worker) {
    const TokenState& state = states_[static_cast<size_t>(row)];
    nll_[state.token] = static_cast<float>(std::log(state.sum)) + state.max - state.target_logit;
    if (dh_ == nullptr || !OnePass()) return;
    const float factor = *scale_.f32() * weights_.f32()[state.token];
    const float ratio = softcap_ == 0 ? 0 : state.target_logit / softcap_;
    const float* const target_row = TargetRow(state.target, worker, run);
    CombineVectors(factor / static_cast<float>(state.sum),
                   run.Get<float>(gradient_) + row * channels_, -factor * (1 - ratio * ratio),
                   target_row, dh_ + state.token * channels_, static_cast<size_t>(channels_));
  });
}

// Turns the chunk's logits into d loss / d logit: zero rows where there is no token, so that none
// of them adds to dB.
void LmHeadLoss::MakeLogitGradients(int64_t chunk, CpuRun& run) {
  const int64_t rows = weight_.Rows(chunk);
  const auto count = static_cast<size_t>(rows);
  run.ParallelRanges(capacity_, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* const z = run.Get<float>(logits_) + row * weight_.chunk_rows();
      if (row >= num_active_) {
        std::memset(z, 0, count * sizeof(float));
      } else {
        const TokenState& state = states_[static_cast<size_t>(row)];
        const float factor = *scale_.f32() * weights_.f32()[state.token];
        HWY_DYNAMIC_DISPATCH(CapAndFindMax)(z, softcap_, count);
        HWY_DYNAMIC_DISPATCH(ExpAndSum)(z, state.max, softcap_, count);
        ScaleVector(z, factor / static_cast<float>(state.sum), z, count);
        const int64_t target = state.target - weight_.Begin(chunk);
        const float ratio = softcap_ == 0 ? 0 : state.target_logit / softcap_;
        if (target >= 0 && target < rows) z[target] -= factor * (1 - ratio * ratio);
      }
      if (type_ == GemmType::kBf16) {
        ConvertToBf16(z, run.Get<uint16_t>(probabilities_) + row * weight_.chunk_rows(), count);
      }
    }
  });
}

void LmHeadLoss::RunBypassGradient(CpuRun& run) {
  for (int64_t chunk = 0; chunk < weight_.num_chunks(); ++chunk) {
    const void* const w = weight_.Prepare(chunk, run);
    MakeLogits(chunk, w, run);
    MakeLogitGradients(chunk, run);
    AddGradient(chunk, w, run);
    bypass_->AddGradient(chunk, run.Get<float>(logits_), run);
  }
  run.ParallelFor(num_active_, [&](int64_t row, int) {
    std::memcpy(dh_ + states_[static_cast<size_t>(row)].token * channels_,
                run.Get<float>(gradient_) + row * channels_,
                static_cast<size_t>(channels_) * sizeof(float));
  });
  bypass_->End(active_, run);
}

absl::Status LmHeadLoss::Run(CpuRun& run) {
  std::memset(nll_, 0, static_cast<size_t>(tokens_) * sizeof(float));
  if (dh_ != nullptr) std::memset(dh_, 0, static_cast<size_t>(tokens_ * channels_) * sizeof(float));
  CHOIR_RETURN_IF_ERROR(GatherTokens(run));
  if (bypass_) bypass_->ClearV();
  if (num_active_ == 0) return absl::OkStatus();
  if (bypass_) bypass_->Begin(active_, run);
  for (int64_t chunk = 0; chunk < weight_.num_chunks(); ++chunk) {
    const void* const w = weight_.Prepare(chunk, run);
    MakeLogits(chunk, w, run);
    UpdateSoftmax(chunk, run);
    if (dh_ != nullptr && OnePass()) AddGradient(chunk, w, run);
  }
  Finish(run);
  if (dh_ != nullptr && bypass_) RunBypassGradient(run);
  return absl::OkStatus();
}

absl::StatusOr<CpuProgram> PrepareLmHeadLoss(const CpuCall& call, CpuCompiler& compiler) {
  // Shared: a CpuProgram must be copyable.
  CHOIR_ASSIGN_OR_RETURN(std::shared_ptr<LmHeadLoss> kernel, LmHeadLoss::Create(call, compiler));
  return [kernel = std::move(kernel)](CpuRun& run) { return kernel->Run(run); };
}

}  // namespace

const CpuKernel kLmHeadLossCpuKernel = {PrepareLmHeadLoss};

}  // namespace choir::engine
#endif  // HWY_ONCE
