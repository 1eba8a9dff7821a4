#include "engine/backend/vulkan/kernels/attention_call.h"
#include "engine/backend/vulkan/kernels/lane_attention.h"
#include "engine/quant/weight_format.h"

namespace choir::engine::vulkan {
namespace {

// Tile of a workgroup. One query over many keys when text is generated token by token.
struct Tile {
  int64_t queries;
  int64_t keys;
};

Tile ChooseTile(int64_t tokens) {
  return tokens == 1 ? Tile{1, 64} : Tile{16, 16};
}

absl::Status Record(KernelContext& context) {
  return EmitAttention(context, false, &context.Output(1));
}

}  // namespace

uint32_t KvFormatOf(const TensorDesc& desc) {
  if (desc.dtype == DType::kF32) return kKvF32;
  return desc.format == &kF16Format ? kKvF16 : kKvQ8_0;
}

absl::Status EmitAttention(KernelContext& context, bool cached, const TensorView* lse) {
  const AttentionCall call(context, context.Input(0).desc.shape, context.Input(1).desc.shape);
  if (!cached && FitsLanes(context, call, 3)) return EmitLaneAttention(context, call);
  if (cached && FitsLanesCached(context, call)) return EmitLaneCachedAttention(context, call);
  const Tile tile = ChooseTile(call.tokens);
  DispatchBuilder dispatch = context.Shader("attention");
  for (size_t i = 0; i < 4; ++i) dispatch.Read(context.Input(i));
  dispatch.Write(context.Output(0));
  if (lse == nullptr) {
    dispatch.Unused();
  } else {
    dispatch.Write(*lse);
  }
  return dispatch
      .Constants({static_cast<uint32_t>(tile.keys), static_cast<uint32_t>(tile.queries),
                  call.Columns(tile.keys), static_cast<uint32_t>(cached),
                  KvFormatOf(context.Input(1).desc)})
      .Push(call.tokens)
      .Push(call.keys)
      .Push(call.heads)
      .Push(call.kv_heads)
      .Push(call.head_size)
      .Push(call.window)
      .Push(call.scale)
      .Push(call.softcap)
      .Groups(call.heads, (call.tokens + tile.queries - 1) / tile.queries)
      .Work(call.Work(2))
      .Emit();
}

const VulkanKernel kAttentionVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
