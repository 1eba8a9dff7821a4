#ifndef CHOIR_ENGINE_BACKEND_VULKAN_PROGRAM_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_PROGRAM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/vulkan/command_list.h"
#include "engine/backend/vulkan/device.h"
#include "engine/backend/vulkan/handle.h"
#include "engine/backend/vulkan/pacer.h"

namespace choir::engine::vulkan {

// A command list, recorded once and replayed: descriptor sets made beforehand, barriers only where
// bytes conflict, cut into submissions of bounded work.
class Program {
 public:
  // Every range's buffer must exist by now, and outlive the program. `marks`: numbers of commands,
  // not falling, after which the device notes the time; none: it notes nothing.
  static absl::StatusOr<std::unique_ptr<Program>> Create(Device& device, const BufferTable& buffers,
                                                         std::vector<Command> commands,
                                                         std::vector<size_t> marks);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  // Submits everything and waits for it; records (again) where the pacer's measure has moved far
  // from that of the last recording. UNAVAILABLE if the device was lost.
  absl::Status Run(Pacer& pacer);

  // Of the last run: seconds from the first mark to each; empty where nothing was noted. Commands
  // of neighbouring marks may overlap where no barrier parts them.
  [[nodiscard]] std::vector<double> MarkTimes() const;

  // Of the last recording.
  [[nodiscard]] size_t num_submissions() const { return submissions_.size(); }
  [[nodiscard]] size_t num_barriers() const { return num_barriers_; }

 private:
  Program(Device& device, const BufferTable& buffers, std::vector<Command> commands,
          std::vector<size_t> marks)
      : device_(&device),
        buffers_(&buffers),
        commands_(std::move(commands)),
        marks_(std::move(marks)) {}

  absl::Status CreateDescriptorPool();
  absl::Status CreateQueryPool();
  absl::Status WriteDescriptors();
  absl::Status WriteDescriptorSet(const Dispatch& dispatch, VkDescriptorSet set);
  // Of a texel buffer over these bytes of a buffer; lives as long as the program.
  absl::StatusOr<VkBufferView> CreateView(BindingKind kind, const VkDescriptorBufferInfo& bytes);
  absl::Status Record(double work_per_submission);
  void FreeSubmissions();
  absl::StatusOr<VkCommandBuffer> BeginSubmission();
  void RecordCommand(VkCommandBuffer commands, size_t index) const;
  // Notes the time at all marks that stand after `done` commands, from number `next`; returns the
  // next one.
  size_t RecordMarks(VkCommandBuffer commands, size_t done, size_t next) const;
  absl::Status SubmitAll();

  Device* device_;
  const BufferTable* buffers_;
  std::vector<Command> commands_;
  std::vector<size_t> marks_;
  UniqueQueryPool times_;
  UniqueDescriptorPool pool_;
  std::vector<UniqueBufferView> views_;
  std::vector<VkDescriptorSet> sets_;  // by command; null for a copy. Freed with the pool.
  std::vector<VkCommandBuffer> submissions_;
  std::array<UniqueFence, 2> fences_;
  double recorded_work_ = 0;  // per submission; 0: not recorded yet
  size_t num_barriers_ = 0;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_PROGRAM_H_
