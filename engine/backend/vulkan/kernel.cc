#include "engine/backend/vulkan/kernel.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/shader_table.h"
#include "engine/quant/weight_format.h"

namespace choir::engine::vulkan {

std::string FormatName(const TensorDesc& desc) {
  if (desc.dtype != DType::kWeight || desc.format == nullptr) return "f32";
  std::string name(desc.format->name);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

void KernelContext::BeginNode(const Node& node, std::vector<TensorView> inputs,
                              std::vector<TensorView> outputs, std::vector<TensorView> updates) {
  node_ = &node;
  inputs_ = std::move(inputs);
  outputs_ = std::move(outputs);
  updates_ = std::move(updates);
  scratch_bytes_ = 0;
  staging_.desc.shape = {0, 0};
}

TensorView KernelContext::Scratch(int64_t rows, int64_t cols) {
  const uint64_t alignment = device_->caps().storage_alignment;
  const TensorView view{F32(rows, cols), BufferTable::kWorkspace, scratch_bytes_};
  const auto bytes = static_cast<uint64_t>(SizeBytes(view.desc));
  scratch_bytes_ += (bytes + alignment - 1) / alignment * alignment;
  max_scratch_bytes_ = std::max(max_scratch_bytes_, scratch_bytes_);
  return view;
}

TensorView KernelContext::Staging(int64_t elements) {
  if (staging_.desc.shape.cols < elements) staging_ = Scratch(1, elements);
  return staging_;
}

TensorView KernelContext::Slice(const TensorView& view, int64_t first, int64_t count) {
  TensorView slice = view;
  slice.desc.shape = {1, count};
  slice.offset_bytes += static_cast<uint64_t>(first) * 4;
  return slice;
}

std::string KernelContext::Variant(std::string_view shader, const TensorView& weight) {
  return fmt::format("{}.{}", shader, FormatName(weight.desc));
}

DispatchBuilder KernelContext::Shader(std::string name) {
  const std::string variant = name + ".subgroups";
  const bool better = caps().subgroup_arithmetic && FindShader(variant) != nullptr;
  return DispatchBuilder(*this, better ? variant : std::move(name));
}

absl::StatusOr<Range> KernelContext::Find(uint32_t buffer, uint64_t offset, uint64_t bytes) const {
  const std::shared_ptr<VulkanBuffer>& found = buffers_->at(buffer);
  if (found == nullptr) return Range{buffer, 0, offset, bytes};  // made later, in one piece
  const auto place = found->Find(offset, bytes);
  if (!place.has_value()) {
    return absl::ResourceExhaustedError(
        fmt::format("{} bytes at {} do not lie in one allocation of the device (a row of a weight "
                    "may have at most {} bytes)",
                    bytes, offset, VulkanBuffer::kPieceOverlapBytes));
  }
  return Range{buffer, static_cast<uint32_t>(place->piece), place->offset, bytes};
}

absl::StatusOr<std::vector<RowTile>> KernelContext::Tiles(const TensorView& weight,
                                                          double work_per_row,
                                                          int64_t max_rows) const {
  const int64_t all_rows = weight.desc.shape.rows;
  const auto row_bytes = static_cast<uint64_t>(SizeBytes(weight.desc) / all_rows);
  // What alignment and whole-word reads may add to a range.
  const uint64_t extra = device_->caps().storage_alignment + VulkanBuffer::kSlackBytes;
  const uint64_t room = max_weight_bytes_ - std::min(max_weight_bytes_, extra);
  if (row_bytes > room) {
    return absl::ResourceExhaustedError(fmt::format(
        "a row of {} bytes does not fit into the {} bytes that the device binds at once", row_bytes,
        max_weight_bytes_));
  }
  int64_t limit = std::min(max_rows, static_cast<int64_t>(room / row_bytes));
  if (work_per_row > 0) {
    // Whole tiles of the matrix product, and never fewer than one.
    constexpr int64_t kStep = 128;
    const auto by_work = static_cast<int64_t>(max_work_ / work_per_row) / kStep * kStep;
    limit = std::min(limit, std::max(by_work, kStep));
  }
  std::vector<RowTile> tiles;
  for (int64_t row = 0; row < all_rows;) {
    RowTile tile{row, std::min(limit, all_rows - row), {}};
    const uint64_t at = weight.offset_bytes + static_cast<uint64_t>(row) * row_bytes;
    absl::StatusOr<Range> range =
        Find(weight.buffer, at, row_bytes * static_cast<uint64_t>(tile.rows));
    // At the seam of two allocations: as many rows as the first one still holds.
    for (; !range.ok() && tile.rows > 1;) {
      tile.rows = (tile.rows + 1) / 2;
      range = Find(weight.buffer, at, row_bytes * static_cast<uint64_t>(tile.rows));
    }
    if (!range.ok()) return range.status();
    tile.range = *range;
    tiles.push_back(tile);
    row += tile.rows;
  }
  return tiles;
}

absl::StatusOr<TensorView> KernelContext::Constant(const std::vector<float>& values) {
  CHOIR_ASSIGN_OR_RETURN(
      const std::shared_ptr<VulkanBuffer> buffer,
      VulkanBuffer::Create(device_, values.size() * sizeof(float), MemoryUsage::kDevice, false,
                           device_->caps().max_allocation_bytes));
  CHOIR_RETURN_IF_ERROR(buffer->Write(0, BytesOf(std::span<const float>(values))));
  return TensorView{F32(1, static_cast<int64_t>(values.size())), buffers_->Add(buffer), 0};
}

DispatchBuilder& DispatchBuilder::Bind(const TensorView& view, bool reads, bool writes) {
  const absl::StatusOr<Range> range = context_->RangeOf(view);
  if (!range.ok()) {
    status_.Update(range.status());
    return *this;
  }
  return BindAccess({*range, reads, writes, false}, 4);
}

DispatchBuilder& DispatchBuilder::Weight(const Range& range) {
  return BindAccess({range, true, false, true}, 1);
}

DispatchBuilder& DispatchBuilder::BindTexels(const Range& range, BindingKind kind) {
  if (!KernelContext::WholeTexels(range)) {
    status_.Update(absl::InternalError(fmt::format("no texel begins at byte {}", range.offset)));
  }
  return BindAccess({range, true, false, false, kind}, BytesOfTexel(kind));
}

DispatchBuilder& DispatchBuilder::Texels(const Range& range) {
  return BindTexels(range, BindingKind::kTexels);
}

DispatchBuilder& DispatchBuilder::HalfTexels(const Range& range) {
  return BindTexels(range, BindingKind::kHalfTexels);
}

DispatchBuilder& DispatchBuilder::WeightTexels(const Range& range) {
  return BindAccess({range, true, false, true, BindingKind::kWordTexels}, 1);
}

DispatchBuilder& DispatchBuilder::Unused() {
  return BindAccess({{BufferTable::kWorkspace, 0, 0, 4}, false, false, false}, 4);
}

DispatchBuilder& DispatchBuilder::BindAccess(const Access& access, uint64_t unit_bytes) {
  const Range& range = access.range;
  const DeviceCaps& caps = context_->device_->caps();
  const uint64_t rest = BindingRest(access, caps);
  const uint64_t limit = access.kind == BindingKind::kStorage
                             ? caps.max_binding_bytes
                             : caps.max_texels * BytesOfTexel(access.kind);
  if (range.bytes + rest + VulkanBuffer::kSlackBytes > limit) {
    status_.Update(absl::ResourceExhaustedError(fmt::format(
        "a tensor of {} bytes is beyond the {} bytes that {} binds at once; use a shorter context",
        range.bytes, limit, caps.name)));
  }
  dispatch_.bindings.push_back(access);
  offsets_.push_back(static_cast<uint32_t>(rest / unit_bytes));
  return *this;
}

DispatchBuilder& DispatchBuilder::Constants(std::vector<uint32_t> values) {
  constants_ = std::move(values);
  return *this;
}

DispatchBuilder& DispatchBuilder::Push(uint32_t value) {
  values_.push_back(value);
  return *this;
}

DispatchBuilder& DispatchBuilder::Push(int64_t value) {
  if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
    status_.Update(absl::ResourceExhaustedError(
        fmt::format("a size of {} elements does not fit into a shader's 32 bits", value)));
  }
  return Push(static_cast<uint32_t>(value));
}

DispatchBuilder& DispatchBuilder::Groups(int64_t x, int64_t y) {
  const auto& limits = context_->device_->caps().max_groups;
  if (x > limits[0] || y > limits[1]) {
    status_.Update(absl::ResourceExhaustedError(fmt::format(
        "{} x {} workgroups are more than the device's {} x {}", x, y, limits[0], limits[1])));
  }
  dispatch_.groups = {static_cast<uint32_t>(x), static_cast<uint32_t>(y), 1};
  return *this;
}

DispatchBuilder& DispatchBuilder::FlatGroups(int64_t count) {
  constexpr int64_t kRow = 32768;  // below the 65535 that every device has
  const int64_t groups = (count + 255) / 256;
  return Groups(std::min(groups, kRow), (groups + kRow - 1) / kRow);
}

DispatchBuilder& DispatchBuilder::Work(double operations) {
  dispatch_.work = operations;
  return *this;
}

absl::StatusOr<Dispatch> DispatchBuilder::Make() {
  if (!status_.ok()) return status_;
  std::vector<BindingKind> kinds;
  for (const Access& access : dispatch_.bindings) kinds.push_back(access.kind);
  CHOIR_ASSIGN_OR_RETURN(dispatch_.pipeline,
                         context_->pipelines_->Get(shader_, constants_, kinds, full_subgroups_));
  std::vector<uint32_t> push = std::move(offsets_);
  push.insert(push.end(), values_.begin(), values_.end());
  dispatch_.push_bytes = static_cast<uint32_t>(push.size() * sizeof(uint32_t));
  if (dispatch_.push_bytes > kPushBytes) {
    return absl::InternalError(fmt::format("{} has {} push constants", shader_, push.size()));
  }
  std::memcpy(dispatch_.push.data(), push.data(), dispatch_.push_bytes);
  return std::move(dispatch_);
}

absl::Status DispatchBuilder::Emit() {
  CHOIR_ASSIGN_OR_RETURN(Dispatch dispatch, Make());
  context_->commands_.emplace_back(std::move(dispatch));
  return absl::OkStatus();
}

}  // namespace choir::engine::vulkan
