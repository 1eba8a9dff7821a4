#include <algorithm>
#include <optional>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/dropout.h"
#include "engine/backend/vulkan/kernels/products.h"
#include "engine/ops/dropout_mask.h"

namespace choir::engine::vulkan {
namespace {

// Logits of one chunk of the vocabulary: the only part of (T, V) that ever exists.
constexpr int64_t kChunkBytes = 16 << 20;
constexpr int64_t kMinChunkEntries = 256;

// Phases of loss_lse.comp.
constexpr uint32_t kFirst = 1;
constexpr uint32_t kLast = 2;

// Inputs of the adapter, where there is one.
constexpr size_t kFactorA = 5;
constexpr size_t kFactorB = 6;
constexpr size_t kKeyInput = 7;

struct Bypass {
  TensorView u;  // (T, R)
  float scale = 0;
};

struct Loss {
  KernelContext& context;
  TensorView logits;  // (T, largest chunk)
  TensorView state;   // (T, 3)
  std::vector<RowTile> chunks;
  float softcap;
  std::optional<Bypass> bypass;

  // The logits of a chunk as a dense (T, chunk) matrix at the start of the workspace.
  [[nodiscard]] TensorView Chunk(const RowTile& tile) const {
    TensorView view = logits;
    view.desc.shape.cols = tile.rows;
    return view;
  }
};

absl::Status EmitLogits(const Loss& loss, const RowTile& tile) {
  return EmitNt(loss.context, {.x = loss.context.Input(0),
                               .weight = loss.context.Input(1),
                               .tile = tile,
                               .u = loss.bypass ? &loss.bypass->u : nullptr,
                               .b = loss.bypass ? &loss.context.Input(kFactorB) : nullptr,
                               .beta = loss.bypass ? loss.bypass->scale : 0,
                               .y = loss.Chunk(tile),
                               .first_column = 0});
}

absl::Status EmitLse(const Loss& loss, const RowTile& tile, uint32_t phase) {
  KernelContext& context = loss.context;
  const TensorView chunk = loss.Chunk(tile);
  return context.Shader("loss_lse")
      .Read(chunk)
      .Read(context.Input(2))
      .Read(context.Input(3))
      .Update(loss.state)
      .Write(context.Output(0))
      .Push(tile.first_row)
      .Push(tile.rows)
      .Push(phase)
      .Push(loss.softcap)
      .Groups(chunk.desc.shape.rows)
      .Work(16.0 * static_cast<double>(chunk.desc.shape.NumElements()))
      .Emit();
}

// v += lora_scale * dz B and, if B is trained, dB += lora_scale * dz^T u, for a chunk of B's rows.
absl::Status EmitBypassGradient(const Loss& loss, const RowTile& tile) {
  KernelContext& context = loss.context;
  const TensorView chunk = loss.Chunk(tile);
  const TensorView& b = context.Input(kFactorB);
  const TensorView& v = context.Output(2);
  const int64_t rank = b.desc.shape.cols;
  CHOIR_ASSIGN_OR_RETURN(const Range range, context.RangeOf(KernelContext::Slice(
                                                b, tile.first_row * rank, tile.rows * rank)));
  CHOIR_RETURN_IF_ERROR(EmitNn(context, {.dy = chunk,
                                         .first_column = 0,
                                         .weight = b,
                                         .tile = {tile.first_row, tile.rows, range},
                                         .alpha = loss.bypass->scale,
                                         .acc = tile.first_row == 0 ? nullptr : &v,
                                         .dx = v}));
  if (context.num_updates() == 0) return absl::OkStatus();
  TensorView gradient =
      KernelContext::Slice(context.Update(0), tile.first_row * rank, tile.rows * rank);
  gradient.desc.shape = {tile.rows, rank};
  return EmitTn(context, chunk, loss.bypass->u, loss.bypass->scale, gradient);
}

absl::Status EmitGradient(const Loss& loss, const RowTile& tile) {
  KernelContext& context = loss.context;
  const TensorView chunk = loss.Chunk(tile);
  CHOIR_RETURN_IF_ERROR(context.Shader("loss_gradient")
                            .Update(chunk)
                            .Read(context.Input(2))
                            .Read(context.Input(3))
                            .Read(loss.state)
                            .Read(context.Input(4))
                            .Push(tile.first_row)
                            .Push(tile.rows)
                            .Push(loss.softcap)
                            .Groups((tile.rows + 255) / 256, chunk.desc.shape.rows)
                            .Work(16.0 * static_cast<double>(chunk.desc.shape.NumElements()))
                            .Emit());
  const TensorView& dh = context.Output(1);
  CHOIR_RETURN_IF_ERROR(EmitNn(context, {.dy = chunk,
                                         .first_column = 0,
                                         .weight = context.Input(1),
                                         .tile = tile,
                                         .acc = tile.first_row == 0 ? nullptr : &dh,
                                         .dx = dh}));
  return loss.bypass ? EmitBypassGradient(loss, tile) : absl::OkStatus();
}

absl::StatusOr<std::optional<Bypass>> EmitBypass(KernelContext& context) {
  if (context.attrs().IntOr("lora", 0) == 0) return std::nullopt;
  const TensorView& h = context.Input(0);
  const TensorView& a = context.Input(kFactorA);
  const Bypass bypass{context.Scratch(h.desc.shape.rows, a.desc.shape.rows),
                      static_cast<float>(context.attrs().Float("lora_scale"))};
  CHOIR_ASSIGN_OR_RETURN(const TensorView dropped, DroppedInput(context, h, kKeyInput));
  CHOIR_ASSIGN_OR_RETURN(const RowTile all, WholeMatrix(context, a));
  CHOIR_RETURN_IF_ERROR(
      EmitNt(context, {.x = dropped, .weight = a, .tile = all, .y = bypass.u, .first_column = 0}));
  return bypass;
}

// dh += drop(v A).
absl::Status EmitBypassEnd(KernelContext& context) {
  const TensorView& dh = context.Output(1);
  const TensorView& a = context.Input(kFactorA);
  CHOIR_ASSIGN_OR_RETURN(const RowTile all, WholeMatrix(context, a));
  const bool drops = HasDropout(context.attrs());
  const TensorView sum = drops ? context.Scratch(dh.desc.shape.rows, dh.desc.shape.cols) : dh;
  CHOIR_RETURN_IF_ERROR(EmitNn(context, {.dy = context.Output(2),
                                         .first_column = 0,
                                         .weight = a,
                                         .tile = all,
                                         .acc = drops ? nullptr : &dh,
                                         .dx = sum}));
  return drops ? AddDropped(context, sum, kKeyInput, dh) : absl::OkStatus();
}

absl::Status Record(KernelContext& context) {
  const TensorView& h = context.Input(0);
  const int64_t tokens = h.desc.shape.rows;
  const bool with_grad = context.attrs().Int("with_grad") == 1;
  const double work_per_row = 2.0 * static_cast<double>(h.desc.shape.NumElements());
  const int64_t max_entries = std::max(kMinChunkEntries, kChunkBytes / 4 / tokens);
  CHOIR_ASSIGN_OR_RETURN(std::vector<RowTile> chunks,
                         context.Tiles(context.Input(1), work_per_row, max_entries));
  int64_t widest = 0;
  for (const RowTile& chunk : chunks) widest = std::max(widest, chunk.rows);
  CHOIR_ASSIGN_OR_RETURN(const std::optional<Bypass> bypass, EmitBypass(context));
  const Loss loss{context,
                  context.Scratch(tokens, widest),
                  context.Scratch(tokens, 3),
                  std::move(chunks),
                  static_cast<float>(context.attrs().Float("softcap")),
                  bypass};

  for (size_t i = 0; i < loss.chunks.size(); ++i) {
    const uint32_t phase = (i == 0 ? kFirst : 0u) | (i + 1 == loss.chunks.size() ? kLast : 0u);
    CHOIR_RETURN_IF_ERROR(EmitLogits(loss, loss.chunks[i]));
    CHOIR_RETURN_IF_ERROR(EmitLse(loss, loss.chunks[i], phase));
  }
  if (!with_grad) return absl::OkStatus();
  // The softmax needs the whole sum first, so the logits come a second time; one chunk is still
  // there.
  for (const RowTile& chunk : loss.chunks) {
    if (loss.chunks.size() > 1) CHOIR_RETURN_IF_ERROR(EmitLogits(loss, chunk));
    CHOIR_RETURN_IF_ERROR(EmitGradient(loss, chunk));
  }
  return loss.bypass ? EmitBypassEnd(context) : absl::OkStatus();
}

}  // namespace

const VulkanKernel kLmHeadLossVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
