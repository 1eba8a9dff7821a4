#ifndef CHOIR_BENCH_MACHINE_LIMITS_H_
#define CHOIR_BENCH_MACHINE_LIMITS_H_

// What this machine can do at best, measured in the same run as what is compared with it.

#include <cstdint>

#include "absl/status/statusor.h"

#include "engine/backend/cpu/gemm.h"
#include "engine/model/model_spec.h"

namespace choir::bench {

// GFLOP/s of oneDNN with every one of `threads` threads at a product of its own, at the shapes of
// the model's layers with `tokens` rows: the best of the shapes and of several runs of about
// `seconds` in all.
absl::StatusOr<double> MeasureGemmPeak(const engine::ModelSpec& spec, int64_t tokens,
                                       engine::GemmType type, int threads, double seconds);

// GB/s (10^9 bytes) that `threads` threads read from memory together; `bytes_per_thread` is far
// above what caches hold.
absl::StatusOr<double> MeasureReadBandwidth(int threads, int64_t bytes_per_thread);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_MACHINE_LIMITS_H_
