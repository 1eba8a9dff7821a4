#include "bench/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "bench/memory_reader.h"
#include "engine/backend/cpu/thread_pool.h"

namespace choir::bench {
namespace {

double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

struct Operands {
  std::vector<float> a, b, c;
};

// One shape: the best rate of runs until `seconds` are over.
absl::StatusOr<double> MeasureShape(int64_t m, int64_t n, int64_t k, engine::GemmType type,
                                    double seconds, engine::ThreadPool& pool) {
  const int threads = pool.num_threads();
  engine::GemmLibrary library(threads);
  CHOIR_ASSIGN_OR_RETURN(const engine::Gemm* const gemm, library.Get({.m = m,
                                                                      .n = n,
                                                                      .k = k,
                                                                      .lda = k,
                                                                      .ldb = k,
                                                                      .ldc = n,
                                                                      .transpose_b = true,
                                                                      .type = type}));
  CHOIR_RETURN_IF_ERROR(library.AllocateScratch());
  std::vector<Operands> operands(static_cast<size_t>(threads));
  for (Operands& o : operands) {
    o.a.assign(static_cast<size_t>(m * k), 0.5F);
    o.b.assign(static_cast<size_t>(n * k), 0.5F);
    o.c.resize(static_cast<size_t>(m * n));
  }
  constexpr int kProducts = 4;
  const double flops = 2.0 * static_cast<double>(m * n * k) * kProducts * threads;
  double best = 0;
  const double begin = Now();
  do {
    const double start = Now();
    pool.ParallelFor(threads, [&](int64_t index, int worker) {
      Operands& o = operands[static_cast<size_t>(index)];
      for (int i = 0; i < kProducts; ++i) gemm->Run(worker, o.a.data(), o.b.data(), o.c.data());
    });
    best = std::max(best, flops / (Now() - start) * 1e-9);
  } while (Now() - begin < seconds);
  CHOIR_RETURN_IF_ERROR(library.TakeError());
  return best;
}

}  // namespace

absl::StatusOr<double> MeasureGemmPeak(const engine::ModelSpec& spec, int64_t tokens,
                                       engine::GemmType type, int threads, double seconds) {
  engine::ThreadPool pool(threads);
  const std::pair<int64_t, int64_t> kOutIn[] = {{spec.q_cols(), spec.channels},
                                                {spec.feed_forward, spec.channels},
                                                {spec.channels, spec.feed_forward}};
  double best = 0;
  for (const auto& [out, in] : kOutIn) {
    CHOIR_ASSIGN_OR_RETURN(const double rate,
                           MeasureShape(tokens, out, in, type, seconds / 3, pool));
    best = std::max(best, rate);
  }
  return best;
}

absl::StatusOr<double> MeasureReadBandwidth(int threads, int64_t bytes_per_thread) {
  CHOIR_ASSIGN_OR_RETURN(const auto reader,
                         MemoryReader::Create(threads, bytes_per_thread * threads));
  constexpr int kRuns = 16;
  for (int run = 0; run < kRuns; ++run) CHOIR_RETURN_IF_ERROR(reader->Step());
  return reader->bytes() / reader->times().Fastest() * 1e-9;
}

}  // namespace choir::bench
