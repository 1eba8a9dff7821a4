#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNEL_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNEL_H_

// How an op becomes dispatches. Each op has one file in kernels/ that defines its VulkanKernel; the
// table in kernel_table.cc comes from ops.def, so that a missing kernel fails the link.

#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/backend/vulkan/command_list.h"
#include "engine/backend/vulkan/device.h"
#include "engine/backend/vulkan/product_tuner.h"
#include "engine/graph/graph.h"

namespace choir::engine::vulkan {

// A tensor's place: `buffer` is an index into the BufferTable.
struct TensorView {
  TensorDesc desc;
  uint32_t buffer = 0;
  uint64_t offset_bytes = 0;
};

// Consecutive rows of a weight that one binding can hold.
struct RowTile {
  int64_t first_row = 0;
  int64_t rows = 0;
  Range range;
};

class KernelContext;

// Collects one dispatch. Offsets of the bindings come first in the push constants, in binding order
// (in elements; of weights in bytes; of texels in texels), then what Push() gave. The first error
// is kept and returned by Emit().
class DispatchBuilder {
 public:
  DispatchBuilder& Read(const TensorView& view) { return Bind(view, true, false); }
  DispatchBuilder& Write(const TensorView& view) { return Bind(view, false, true); }
  DispatchBuilder& Update(const TensorView& view) { return Bind(view, true, true); }
  DispatchBuilder& Weight(const Range& range);
  // f32 as texels of four; the offset counts them. The range begins at a whole one (WholeTexels).
  DispatchBuilder& Texels(const Range& range);
  // The same of four f16.
  DispatchBuilder& HalfTexels(const Range& range);
  // A weight as a texel buffer of words.
  DispatchBuilder& WeightTexels(const Range& range);
  // For a binding that this call's shader does not touch.
  DispatchBuilder& Unused();
  DispatchBuilder& Constants(std::vector<uint32_t> values);
  DispatchBuilder& Push(uint32_t value);
  DispatchBuilder& Push(int64_t value);
  DispatchBuilder& Push(float value) { return Push(std::bit_cast<uint32_t>(value)); }
  DispatchBuilder& Groups(int64_t x, int64_t y = 1);
  // One invocation an element, in groups of 256 (shaders that include flat_index.glsl).
  DispatchBuilder& FlatGroups(int64_t count);
  DispatchBuilder& Work(double operations);
  // See PipelineStore::Get.
  DispatchBuilder& FullSubgroups() {
    full_subgroups_ = true;
    return *this;
  }
  // The dispatch by itself, for whoever tries it.
  absl::StatusOr<Dispatch> Make();
  absl::Status Emit();

 private:
  friend class KernelContext;
  DispatchBuilder(KernelContext& context, std::string shader)
      : context_(&context), shader_(std::move(shader)) {}
  DispatchBuilder& Bind(const TensorView& view, bool reads, bool writes);
  DispatchBuilder& BindTexels(const Range& range, BindingKind kind);
  DispatchBuilder& BindAccess(const Access& access, uint64_t unit_bytes);

  KernelContext* context_;
  std::string shader_;
  std::vector<uint32_t> constants_;
  std::vector<uint32_t> offsets_;
  std::vector<uint32_t> values_;
  bool full_subgroups_ = false;
  Dispatch dispatch_;
  absl::Status status_;
};

// What a kernel sees of one node.
class KernelContext {
 public:
  // `max_weight_bytes`: largest range of a weight that one binding may cover.
  // The device is shared with the constants' buffers.
  KernelContext(std::shared_ptr<Device> device, PipelineStore& pipelines, ProductTuner& tuner,
                BufferTable& buffers, uint64_t max_weight_bytes, double max_work, Compute compute)
      : device_(std::move(device)),
        pipelines_(&pipelines),
        tuner_(&tuner),
        buffers_(&buffers),
        max_weight_bytes_(max_weight_bytes),
        max_work_(max_work),
        compute_(compute) {}

  // One with a list of commands and memory of its own, to try things; it has no node.
  [[nodiscard]] KernelContext Apart(BufferTable& buffers) const {
    return KernelContext(device_, *pipelines_, *tuner_, buffers, max_weight_bytes_, max_work_,
                         compute_);
  }

  // Turns to the next node: its tensors, in order; the scratch memory starts afresh.
  void BeginNode(const Node& node, std::vector<TensorView> inputs, std::vector<TensorView> outputs,
                 std::vector<TensorView> updates);

  [[nodiscard]] const DeviceCaps& caps() const { return device_->caps(); }
  [[nodiscard]] const std::shared_ptr<Device>& device() const { return device_; }
  [[nodiscard]] ProductTuner& tuner() { return *tuner_; }
  // Whether products with frozen weights must be computed in f32.
  [[nodiscard]] bool exact() const { return compute_ == Compute::kF32; }
  [[nodiscard]] const Attrs& attrs() const { return node_->attrs; }
  [[nodiscard]] size_t num_inputs() const { return inputs_.size(); }
  [[nodiscard]] size_t num_outputs() const { return outputs_.size(); }
  [[nodiscard]] size_t num_updates() const { return updates_.size(); }
  [[nodiscard]] const TensorView& Input(size_t i) const { return inputs_[i]; }
  [[nodiscard]] const TensorView& Output(size_t i) const { return outputs_[i]; }
  [[nodiscard]] const TensorView& Update(size_t i) const { return updates_[i]; }

  // An f32 matrix that lives during this node only.
  TensorView Scratch(int64_t rows, int64_t cols);
  // f32 of at least so many elements: the same ones at each call within a node, so that their
  // contents serve until the next call.
  TensorView Staging(int64_t elements);
  // A small table that the host computed; lives as long as the executable.
  absl::StatusOr<TensorView> Constant(const std::vector<float>& values);
  // Elements [first, first + count) of a tensor with 4-byte elements, as one row.
  static TensorView Slice(const TensorView& view, int64_t first, int64_t count);

  // The whole weight, cut into ranges of at most `max_rows` rows that one binding can hold.
  // `work_per_row` (operations) also bounds them, so that one dispatch fits into a submission; 0:
  // it does not. RESOURCE_EXHAUSTED if one row is too long.
  [[nodiscard]] absl::StatusOr<std::vector<RowTile>> Tiles(
      const TensorView& weight, double work_per_row,
      int64_t max_rows = std::numeric_limits<int64_t>::max()) const;
  // A tensor in one piece.
  [[nodiscard]] absl::StatusOr<Range> RangeOf(const TensorView& view) const {
    return Find(view.buffer, view.offset_bytes, static_cast<uint64_t>(SizeBytes(view.desc)));
  }
  // Whether texels of four f32 can begin where the range does.
  [[nodiscard]] static bool WholeTexels(const Range& range) { return range.offset % 16 == 0; }
  // The shader's variant for this weight's format: "embed.q8_0".
  static std::string Variant(std::string_view shader, const TensorView& weight);

  // The variant with subgroup operations, where the build has one and the device can.
  DispatchBuilder Shader(std::string name);

  // What was recorded so far.
  [[nodiscard]] std::vector<Command>& commands() { return commands_; }
  [[nodiscard]] uint64_t scratch_bytes() const { return max_scratch_bytes_; }

 private:
  friend class DispatchBuilder;
  [[nodiscard]] absl::StatusOr<Range> Find(uint32_t buffer, uint64_t offset, uint64_t bytes) const;

  std::shared_ptr<Device> device_;
  PipelineStore* pipelines_;
  ProductTuner* tuner_;
  BufferTable* buffers_;
  uint64_t max_weight_bytes_;
  double max_work_;
  Compute compute_;
  const Node* node_ = nullptr;
  std::vector<TensorView> inputs_;
  std::vector<TensorView> outputs_;
  std::vector<TensorView> updates_;
  uint64_t scratch_bytes_ = 0;
  TensorView staging_{F32(0, 0), BufferTable::kWorkspace, 0};
  uint64_t max_scratch_bytes_ = 0;
  std::vector<Command> commands_;
};

struct VulkanKernel {
  // Emits the node's dispatches.
  absl::Status (*record)(KernelContext& context);
};

#define CHOIR_OP(Name) extern const VulkanKernel k##Name##VulkanKernel;
#include "engine/ops/ops.def"
#undef CHOIR_OP

// In the order of AllOps().
const VulkanKernel& KernelOf(const OpSchema& op);

// Lower-case name of the format, as in the shaders' names; f32 for a tensor that is no weight.
std::string FormatName(const TensorDesc& desc);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNEL_H_
