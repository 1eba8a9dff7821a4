#include "engine/backend/vulkan/kernels/dropout.h"

#include "base/status_macros.h"
#include "engine/ops/dropout_mask.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Emit(KernelContext& context, const TensorView& x, size_t key, const TensorView& out,
                  bool adds) {
  const DropoutMask mask = DropoutMask::Of(context.attrs());
  const Shape shape = x.desc.shape;
  DispatchBuilder dispatch = context.Shader("dropout");
  dispatch.Read(x).Read(context.Input(key));
  if (adds) {
    dispatch.Update(out);
  } else {
    dispatch.Write(out);
  }
  return dispatch.Push(shape.rows)
      .Push(shape.cols)
      .Push(mask.site)
      .Push(mask.threshold)
      .Push(mask.scale)
      .Push(static_cast<uint32_t>(adds))
      .FlatGroups(shape.rows * ((shape.cols + 3) / 4))
      .Work(32.0 * static_cast<double>(shape.NumElements()))
      .Emit();
}

}  // namespace

absl::StatusOr<TensorView> DroppedInput(KernelContext& context, const TensorView& x, size_t key) {
  if (!HasDropout(context.attrs())) return x;
  const TensorView copy = context.Scratch(x.desc.shape.rows, x.desc.shape.cols);
  CHOIR_RETURN_IF_ERROR(Emit(context, x, key, copy, false));
  return copy;
}

absl::Status AddDropped(KernelContext& context, const TensorView& x, size_t key,
                        const TensorView& out) {
  return Emit(context, x, key, out, true);
}

}  // namespace choir::engine::vulkan
