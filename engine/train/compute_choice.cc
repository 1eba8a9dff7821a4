#include "engine/train/compute_choice.h"

#include <algorithm>

namespace choir::engine {
namespace {

// stories260K (64 channels) trains faster in f32 than in bf16 on a CPU with AMX; the products of a
// model of 768 channels run several times faster in bf16. In between, exactness decides.
constexpr int64_t kFewChannels = 512;

}  // namespace

Compute ChooseCompute(Compute asked, const ModelSpec& spec) {
  return asked == Compute::kAuto && spec.channels < kFewChannels ? Compute::kF32 : asked;
}

bool RoundsProducts(Compute chosen, const DeviceInfo& device) {
  return chosen != Compute::kF32 &&
         std::find(device.features.begin(), device.features.end(), "bf16") != device.features.end();
}

}  // namespace choir::engine
