#include <algorithm>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {
namespace {

// Logits of one chunk of the vocabulary: the only part of (T, V) that ever exists.
constexpr int64_t kChunkBytes = 16 << 20;
constexpr int64_t kMinChunkEntries = 256;

// Phases of loss_lse.comp.
constexpr uint32_t kFirst = 1;
constexpr uint32_t kLast = 2;

struct Loss {
  KernelContext& context;
  TensorView logits;  // (T, largest chunk)
  TensorView state;   // (T, 3)
  std::vector<RowTile> chunks;
  float softcap;

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
  return EmitNn(context, {.dy = chunk,
                          .first_column = 0,
                          .weight = context.Input(1),
                          .tile = tile,
                          .acc = tile.first_row == 0 ? nullptr : &dh,
                          .dx = dh});
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
  const Loss loss{context, context.Scratch(tokens, widest), context.Scratch(tokens, 3),
                  std::move(chunks), static_cast<float>(context.attrs().Float("softcap"))};

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
  return absl::OkStatus();
}

}  // namespace

const VulkanKernel kLmHeadLossVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
