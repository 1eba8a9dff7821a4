#ifndef CHOIR_ENGINE_BACKEND_VULKAN_BLOCK_TUNER_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_BLOCK_TUNER_H_

#include <memory>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

#include "engine/backend/vulkan/command_list.h"
#include "engine/backend/vulkan/device.h"
#include "engine/backend/vulkan/tuning_table.h"

namespace choir::engine::vulkan {

// Chooses the block of large products by trying: each candidate runs a few times on zeros when a
// class of products is met for the first time, and the answer is kept in a file beside the pipeline
// cache. A block changes which invocation sums what, never the order of a sum: results are the
// same.
class BlockTuner {
 public:
  using MakeDispatch = absl::FunctionRef<absl::StatusOr<Dispatch>(Block)>;

  // `cache_dir` may be empty: nothing is kept.
  BlockTuner(std::shared_ptr<Device> device, std::string cache_dir);

  // The fastest of the candidates; the first of them where none is clearly faster, or the device
  // has no memory to try.
  Block Fastest(const ProductClass& product, std::span<const Block> candidates, MakeDispatch make);

  // Writes the file if something was measured since it was last written.
  absl::Status Save();

 private:
  absl::StatusOr<double> Seconds(Dispatch dispatch) const;

  std::shared_ptr<Device> device_;  // shared with the scratch buffers
  std::string cache_dir_;
  TuningTable table_;
  bool changed_ = false;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_BLOCK_TUNER_H_
