#include "engine/model/adapter_layout.h"

#include <fmt/format.h>

namespace choir::engine {

const AdapterSlot* AdapterLayout::Find(std::string_view base_tensor) const {
  for (const AdapterSlot& slot : slots) {
    if (slot.name == base_tensor) return &slot;
  }
  return nullptr;
}

std::vector<FlatRange> AdapterLayout::Trained(TrainedFactors factors) const {
  if (factors == TrainedFactors::kBoth) return {{0, num_elements}};
  std::vector<FlatRange> ranges;
  for (const AdapterSlot& slot : slots) {
    if (factors == TrainedFactors::kA) {
      ranges.push_back({slot.a_offset, slot.rank * slot.cols});
    } else {
      ranges.push_back({slot.b_offset, slot.rows * slot.rank});
    }
  }
  return ranges;
}

std::string GradientName(std::string_view factor_name) {
  return fmt::format("{}.grad", factor_name);
}

std::string FlatName(AdapterPart part, FlatRange range) {
  constexpr std::string_view kNames[] = {"parameters", "gradients", "first_moments",
                                         "second_moments"};
  return fmt::format("adapter.{}[{}+{}]", kNames[static_cast<size_t>(part)], range.offset,
                     range.count);
}

AdapterLayout LayoutOf(const Adapter& adapter) {
  AdapterLayout layout;
  for (const LoraPair& pair : adapter.pairs) {
    AdapterSlot slot;
    slot.name = pair.name;
    slot.rows = pair.rows;
    slot.cols = pair.cols;
    slot.rank = pair.rank;
    slot.scale = static_cast<double>(adapter.Scale(pair));
    slot.a_offset = layout.num_elements;
    slot.b_offset = slot.a_offset + slot.rank * slot.cols;
    layout.num_elements = slot.b_offset + slot.rows * slot.rank;
    layout.slots.push_back(std::move(slot));
  }
  return layout;
}

}  // namespace choir::engine
