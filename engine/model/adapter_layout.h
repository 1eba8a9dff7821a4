#ifndef CHOIR_ENGINE_MODEL_ADAPTER_LAYOUT_H_
#define CHOIR_ENGINE_MODEL_ADAPTER_LAYOUT_H_

// Where each factor of an adapter lies in the flat f32 vector in which it is trained and sent:
// canonical order, A before B, row-major, as Flatten(Adapter) gives it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/lora/adapter.h"
#include "engine/lora/factors.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

struct AdapterSlot {
  std::string name;  // of the base tensor: "blk.0.attn_q.weight"
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t rank = 0;
  double scale = 0;      // y = W x + scale * B A x
  int64_t a_offset = 0;  // in elements; A is (rank, cols)
  int64_t b_offset = 0;  // B is (rows, rank)

  [[nodiscard]] std::string a_name() const { return name + ".lora_a"; }
  [[nodiscard]] std::string b_name() const { return name + ".lora_b"; }
};

// The four flat vectors of a trained adapter, each AdapterLayout::num_elements long.
enum class AdapterPart : uint8_t { kParameters, kGradients, kFirstMoments, kSecondMoments };

// Elements [offset, offset + count) of the flat vector.
struct FlatRange {
  int64_t offset = 0;
  int64_t count = 0;
};

struct AdapterLayout {
  std::vector<AdapterSlot> slots;
  int64_t num_elements = 0;

  // Null if the base tensor has no adapter.
  [[nodiscard]] const AdapterSlot* Find(std::string_view base_tensor) const;
  // What is trained, neighbours joined: one range for both factors, one a slot for A or B alone.
  [[nodiscard]] std::vector<FlatRange> Trained(TrainedFactors factors) const;
};

// Names of persistent tensors in graphs over an adapter: a factor's gradient; a range of a flat
// vector; the squared norm of the gradient.
std::string GradientName(std::string_view factor_name);
std::string FlatName(AdapterPart part, FlatRange range);
inline constexpr std::string_view kSquaredNormName = "adapter.squared_norm";

// `adapter` was checked against the model (CheckAdapterFits).
AdapterLayout LayoutOf(const Adapter& adapter);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_ADAPTER_LAYOUT_H_
