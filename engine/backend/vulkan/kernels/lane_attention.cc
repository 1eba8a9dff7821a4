#include "engine/backend/vulkan/kernels/lane_attention.h"

#include <initializer_list>

#include "base/status_macros.h"

namespace choir::engine::vulkan {
namespace {

constexpr int64_t kLanes = 8;  // local_size_x of the shaders
constexpr int64_t kTexel = 4;  // f32 numbers
// A lane holds whole rows of a head; longer ones than any model's would be compiled for minutes.
constexpr int64_t kMaxHeadSize = 256;

absl::Status BindTexels(const KernelContext& context, std::initializer_list<size_t> inputs,
                        DispatchBuilder& dispatch) {
  for (const size_t i : inputs) {
    CHOIR_ASSIGN_OR_RETURN(const Range range, context.RangeOf(context.Input(i)));
    dispatch.Texels(range);
  }
  return absl::OkStatus();
}

struct Groups {
  int64_t x;
  int64_t y;
};

// A workgroup a head and eight of its queries (or keys).
Groups ByHead(const AttentionCall& call, int64_t heads) {
  return {heads, (call.tokens + kLanes - 1) / kLanes};
}

absl::Status Finish(DispatchBuilder& dispatch, const AttentionCall& call, const Groups& groups,
                    int products) {
  return dispatch.Constants({static_cast<uint32_t>(call.head_size / kTexel)})
      .Push(call.tokens)
      .Push(call.heads)
      .Push(call.kv_heads)
      .Push(call.window)
      .Push(call.scale)
      .Push(call.softcap)
      .Groups(groups.x, groups.y)
      .Work(call.Work(products))
      .Emit();
}

// Inputs of attention_backward: do q k v o lse segment.
absl::Status BindGradient(KernelContext& context, const TensorView& delta,
                          DispatchBuilder& dispatch) {
  CHOIR_RETURN_IF_ERROR(BindTexels(context, {0, 1, 2, 3}, dispatch));
  dispatch.Read(context.Input(5)).Read(delta).Read(context.Input(6));
  return absl::OkStatus();
}

}  // namespace

bool FitsLanes(const KernelContext& context, const AttentionCall& call, size_t num_texels) {
  if (!context.caps().lanes || call.head_size % kTexel != 0 || call.head_size > kMaxHeadSize) {
    return false;
  }
  for (size_t i = 0; i < num_texels; ++i) {
    const absl::StatusOr<Range> range = context.RangeOf(context.Input(i));
    if (!range.ok() || !KernelContext::WholeTexels(*range)) return false;
  }
  for (size_t i = 0; i < context.num_outputs(); ++i) {
    const absl::StatusOr<Range> range = context.RangeOf(context.Output(i));
    if (!range.ok() || !KernelContext::WholeTexels(*range)) return false;
  }
  return true;
}

absl::Status EmitLaneAttention(KernelContext& context, const AttentionCall& call) {
  DispatchBuilder dispatch = context.Shader("lane_attention");
  CHOIR_RETURN_IF_ERROR(BindTexels(context, {0, 1, 2}, dispatch));
  dispatch.Read(context.Input(3)).Write(context.Output(0)).Write(context.Output(1));
  return Finish(dispatch, call, ByHead(call, call.heads), 2);
}

bool FitsLanesCached(const KernelContext& context, const AttentionCall& call) {
  const uint32_t format = KvFormatOf(context.Input(1).desc);
  return (format == kKvF32 || format == kKvF16) && FitsLanes(context, call, 3);
}

absl::Status EmitLaneCachedAttention(KernelContext& context, const AttentionCall& call) {
  DispatchBuilder dispatch = context.Shader("lane_cached_attention");
  CHOIR_RETURN_IF_ERROR(BindTexels(context, {0}, dispatch));
  for (const size_t i : {size_t{1}, size_t{2}}) {
    CHOIR_ASSIGN_OR_RETURN(const Range range, context.RangeOf(context.Input(i)));
    if (KvFormatOf(context.Input(i).desc) == kKvF16) {
      dispatch.HalfTexels(range);
    } else {
      dispatch.Texels(range);
    }
  }
  dispatch.Read(context.Input(3)).Write(context.Output(0));
  return Finish(dispatch, call, {1, (call.tokens * call.heads + kLanes - 1) / kLanes}, 2);
}

absl::Status EmitLaneAttentionBackward(KernelContext& context, const AttentionCall& call,
                                       const TensorView& delta) {
  DispatchBuilder dq = context.Shader("lane_attention_dq");
  CHOIR_RETURN_IF_ERROR(BindGradient(context, delta, dq));
  dq.Write(context.Output(0));
  CHOIR_RETURN_IF_ERROR(Finish(dq, call, ByHead(call, call.heads), 3));
  DispatchBuilder dkv = context.Shader("lane_attention_dkv");
  CHOIR_RETURN_IF_ERROR(BindGradient(context, delta, dkv));
  dkv.Write(context.Output(1)).Write(context.Output(2));
  return Finish(dkv, call, ByHead(call, call.kv_heads), 4);
}

}  // namespace choir::engine::vulkan
