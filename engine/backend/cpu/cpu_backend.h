#ifndef CHOIR_ENGINE_BACKEND_CPU_CPU_BACKEND_H_
#define CHOIR_ENGINE_BACKEND_CPU_CPU_BACKEND_H_

// Runs graphs on the CPU: products through oneDNN, everything else through Highway. Weights are
// used where they lie (a mapped model file); nothing is allocated while a graph runs. The same
// inputs give the same bits, for any number of threads.

#include <memory>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"

namespace choir::engine {

// `num_threads` counts the caller's; 0: as many as the machine has cores. INVALID_ARGUMENT outside
// 0..1024.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(int num_threads);

DeviceInfo DescribeCpu();

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_CPU_BACKEND_H_
