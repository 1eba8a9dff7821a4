#ifndef CHOIR_ENGINE_BACKEND_VULKAN_VALIDATION_LOG_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_VALIDATION_LOG_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace choir::engine::vulkan {

// What the validation layers said. Thread-safe: a driver may call back from any thread.
class ValidationLog {
 public:
  void Add(std::string message);
  // INTERNAL with the first messages if there are any; they are kept.
  [[nodiscard]] absl::Status status() const;

 private:
  mutable absl::Mutex mu_;
  std::string messages_ ABSL_GUARDED_BY(mu_);
  int count_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_VALIDATION_LOG_H_
