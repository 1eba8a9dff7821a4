#include "engine/backend/vulkan/validation_log.h"

#include <utility>

#include <fmt/format.h>

namespace choir::engine::vulkan {
namespace {
// Enough to understand the first fault; one wrong call in a loop can repeat itself for ever.
constexpr size_t kMaxMessageBytes = 16384;
}  // namespace

void ValidationLog::Add(std::string message) {
  const absl::MutexLock lock(&mu_);
  ++count_;
  if (messages_.size() < kMaxMessageBytes) messages_ += std::move(message) + "\n";
}

absl::Status ValidationLog::status() const {
  const absl::MutexLock lock(&mu_);
  if (count_ == 0) return absl::OkStatus();
  return absl::InternalError(fmt::format("{} Vulkan validation messages:\n{}", count_, messages_));
}

}  // namespace choir::engine::vulkan
