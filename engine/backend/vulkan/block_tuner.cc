#include "engine/backend/vulkan/block_tuner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/backend/vulkan/pacer.h"
#include "engine/backend/vulkan/pipeline_cache_file.h"
#include "engine/backend/vulkan/program.h"

namespace choir::engine::vulkan {
namespace {

constexpr uint64_t kMaxFileBytes = 256u << 10;  // kMaxEntries of the table have 100 bytes each

// Of one dispatch's buffers while it is tried: small beside any model.
constexpr uint64_t kMaxScratchBytes = 64u << 20;

// After one run that compiles and warms up. The fastest counts: others' work only makes runs
// slower.
constexpr int kRuns = 3;

// Another block must be this much faster than the first candidate, or chance would choose.
constexpr double kClearlyFaster = 0.95;

std::string TablePath(const std::string& dir, const DeviceCaps& caps) {
  return PipelineCachePath(dir, caps) + ".blocks";
}

}  // namespace

BlockTuner::BlockTuner(std::shared_ptr<Device> device, std::string cache_dir)
    : device_(std::move(device)), cache_dir_(std::move(cache_dir)) {
  if (cache_dir_.empty()) return;
  const auto text = ReadFile(TablePath(cache_dir_, device_->caps()), kMaxFileBytes);
  if (text.ok()) table_ = TuningTable::FromText(*text);
}

Block BlockTuner::Fastest(const ProductClass& product, std::span<const Block> candidates,
                          MakeDispatch make) {
  if (const std::optional<Block> known = table_.Find(product);
      known.has_value() &&
      std::find(candidates.begin(), candidates.end(), *known) != candidates.end()) {
    return *known;
  }
  Block best = candidates.front();
  double best_seconds = 0;
  for (const Block& block : candidates) {
    const absl::StatusOr<Dispatch> dispatch = make(block);
    if (!dispatch.ok()) continue;
    const absl::StatusOr<double> seconds = Seconds(*dispatch);
    if (!seconds.ok()) return candidates.front();
    if (block != candidates.front() && *seconds >= best_seconds) continue;
    best = block;
    best_seconds = *seconds * (block == candidates.front() ? kClearlyFaster : 1);
  }
  table_.Set(product, best);
  changed_ = true;
  return best;
}

absl::StatusOr<double> BlockTuner::Seconds(Dispatch dispatch) const {
  const DeviceCaps& caps = device_->caps();
  const uint64_t alignment = std::max(caps.storage_alignment, caps.texel_alignment);
  uint64_t end = 0;
  for (Access& access : dispatch.bindings) {
    // The same distance from an aligned place as the shader was told.
    const uint64_t begin = end + BindingRest(access, caps);
    access.range = {BufferTable::kWorkspace, 0, begin, access.range.bytes};
    end = begin + access.range.bytes + VulkanBuffer::kSlackBytes;
    end = (end + alignment - 1) / alignment * alignment;
  }
  if (end > kMaxScratchBytes) return absl::ResourceExhaustedError("too large to try");
  CHOIR_ASSIGN_OR_RETURN(
      std::shared_ptr<VulkanBuffer> scratch,
      VulkanBuffer::Create(device_, end, MemoryUsage::kDevice, false, caps.max_allocation_bytes));
  BufferTable buffers;
  buffers.Set(BufferTable::kWorkspace, std::move(scratch));
  std::vector<Command> commands;
  commands.emplace_back(std::move(dispatch));
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<Program> program,
                         Program::Create(*device_, buffers, std::move(commands), {}));
  Pacer pacer(caps.type, std::numeric_limits<double>::max());
  double fastest = std::numeric_limits<double>::max();
  for (int run = 0; run <= kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    CHOIR_RETURN_IF_ERROR(program->Run(pacer));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (run > 0) fastest = std::min(fastest, took.count());
  }
  return fastest;
}

absl::Status BlockTuner::Save() {
  if (cache_dir_.empty() || !changed_) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(MakeDirectories(cache_dir_));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(TablePath(cache_dir_, device_->caps()), table_.ToText()));
  changed_ = false;
  return absl::OkStatus();
}

}  // namespace choir::engine::vulkan
