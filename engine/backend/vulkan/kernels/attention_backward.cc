#include "base/status_macros.h"
#include "engine/backend/vulkan/kernels/attention_call.h"
#include "engine/backend/vulkan/kernels/lane_attention.h"

namespace choir::engine::vulkan {
namespace {

constexpr int64_t kTile = 16;  // kTile in attention_gradient.glsl

// Inputs of the op: do q k v o lse segment.
DispatchBuilder Start(KernelContext& context, const char* shader, const TensorView& delta) {
  DispatchBuilder dispatch = context.Shader(shader);
  for (const size_t i : {0, 1, 2, 3, 5}) dispatch.Read(context.Input(i));
  dispatch.Read(delta).Read(context.Input(6));
  return dispatch;
}

absl::Status Finish(DispatchBuilder& dispatch, const AttentionCall& call, int64_t heads,
                    int products) {
  return dispatch.Constants({call.Columns(kTile)})
      .Push(call.tokens)
      .Push(call.heads)
      .Push(call.kv_heads)
      .Push(call.head_size)
      .Push(call.window)
      .Push(call.scale)
      .Push(call.softcap)
      .Groups(heads, (call.tokens + kTile - 1) / kTile)
      .Work(call.Work(products))
      .Emit();
}

absl::Status Record(KernelContext& context) {
  const AttentionCall call(context, context.Input(1).desc.shape, context.Input(2).desc.shape);
  const TensorView delta = context.Scratch(call.tokens, call.heads);
  const int64_t rows = call.tokens * call.heads;
  CHOIR_RETURN_IF_ERROR(context.Shader("attention_delta")
                            .Read(context.Input(0))
                            .Read(context.Input(4))
                            .Write(delta)
                            .Push(rows)
                            .Push(call.head_size)
                            .FlatGroups(rows)
                            .Work(2.0 * static_cast<double>(rows * call.head_size))
                            .Emit());
  if (FitsLanes(context, call, 4)) return EmitLaneAttentionBackward(context, call, delta);
  DispatchBuilder dq = Start(context, "attention_dq", delta);
  dq.Write(context.Output(0)).Push(uint32_t{0});  // no second output
  CHOIR_RETURN_IF_ERROR(Finish(dq, call, call.heads, 3));
  DispatchBuilder dkv = Start(context, "attention_dkv", delta);
  dkv.Write(context.Output(1)).Write(context.Output(2));
  return Finish(dkv, call, call.kv_heads, 4);
}

}  // namespace

const VulkanKernel kAttentionBackwardVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
