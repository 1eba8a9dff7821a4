// Training speed on the CPU: LoRA steps of a model in the shape of Llama, and beside it, in the
// same run, what oneDNN reaches at the shapes of that model with every core busy. Read the ratio:
// it says how much of the machine a step uses, on whatever machine.
//
//   train_bench [--compute f32|bf16] [--weights F32|F16|BF16|Q8_0] [--tokens 256] [--threads 0]
//               [--steps 8] [--by-op] [--cpu-time]

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "bench/llama_step.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/cpu_executable.h"
#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/thread_pool.h"
#include <CLI/CLI.hpp>

namespace choir::bench {
namespace {

struct Options {
  std::string compute = "f32";
  std::string weights = "F32";
  int threads = 0;
  int steps = 8;
  bool by_op = false;
  bool cpu_time = false;
  LlamaShape shape;
};

// Seconds of the wall clock; or of this process's CPU time, for a machine that others use as well
// (meaningful with one thread only).
double Now(bool cpu_time) {
  timespec now{};
  clock_gettime(cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double PeakRssMib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// GFLOP/s of one product per thread, each on its own data, the best of several runs.
absl::StatusOr<double> MeasurePeak(const Options& options, engine::GemmType type, int threads) {
  const LlamaShape& shape = options.shape;
  engine::ThreadPool pool(threads);
  double best = 0;
  const std::pair<int64_t, int64_t> kOutIn[] = {{shape.channels, shape.channels},
                                                {shape.feed_forward, shape.channels},
                                                {shape.channels, shape.feed_forward}};
  for (const auto& [out, in] : kOutIn) {
    engine::GemmLibrary library(threads);
    CHOIR_ASSIGN_OR_RETURN(const engine::Gemm* const gemm, library.Get({.m = shape.tokens,
                                                                        .n = out,
                                                                        .k = in,
                                                                        .lda = in,
                                                                        .ldb = in,
                                                                        .ldc = out,
                                                                        .transpose_b = true,
                                                                        .type = type}));
    CHOIR_RETURN_IF_ERROR(library.AllocateScratch());
    struct Operands {
      std::vector<float> a, b, c;
    };
    std::vector<Operands> operands(static_cast<size_t>(threads));
    for (Operands& o : operands) {
      o.a.assign(static_cast<size_t>(shape.tokens * in), 0.5F);
      o.b.assign(static_cast<size_t>(out * in), 0.5F);
      o.c.resize(static_cast<size_t>(shape.tokens * out));
    }
    constexpr int kProducts = 20;
    const double flops = 2.0 * static_cast<double>(shape.tokens * out * in) * kProducts * threads;
    for (int run = 0; run < 10; ++run) {
      const double start = Now(options.cpu_time);
      pool.ParallelFor(threads, [&](int64_t index, int worker) {
        Operands& o = operands[static_cast<size_t>(index)];
        for (int i = 0; i < kProducts; ++i) gemm->Run(worker, o.a.data(), o.b.data(), o.c.data());
      });
      best = std::max(best, flops / (Now(options.cpu_time) - start) * 1e-9);
    }
    CHOIR_RETURN_IF_ERROR(library.TakeError());
  }
  return best;
}

void PrintByOp(engine::Executable& executable) {
  const auto* const cpu = dynamic_cast<engine::CpuExecutable*>(&executable);
  if (cpu == nullptr) return;
  double total = 0;
  for (const auto& [op, seconds] : cpu->SecondsByOp()) total += seconds;
  for (const auto& [op, seconds] : cpu->SecondsByOp()) {
    fmt::print("  {:<20} {:5.1f} %\n", op, 100 * seconds / total);
  }
}

absl::Status Measure(const Options& options) {
  const bool bf16 = options.compute == "bf16";
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  LlamaShape shape = options.shape;
  shape.format = engine::FindWeightFormat(std::string_view(options.weights));
  if (shape.format == nullptr || shape.format->quantize_row == nullptr) {
    return absl::InvalidArgumentError(fmt::format("no weight format {}", options.weights));
  }
  const auto type = bf16 ? engine::GemmType::kBf16 : engine::GemmType::kF32;
  CHOIR_ASSIGN_OR_RETURN(const double peak, MeasurePeak(options, type, threads));
  const double rss_before = PeakRssMib();

  CHOIR_ASSIGN_OR_RETURN(const auto backend, engine::CreateCpuBackend(threads));
  const double compile_start = Now(options.cpu_time);
  CHOIR_ASSIGN_OR_RETURN(
      const auto step,
      LlamaStep::Create(*backend, shape, bf16 ? engine::Compute::kBf16 : engine::Compute::kF32));
  const double compiled = Now(options.cpu_time) - compile_start;
  CHOIR_ASSIGN_OR_RETURN(const double first_loss, step->Run());
  double best = 1e30;
  double loss = first_loss;
  for (int i = 0; i < options.steps; ++i) {
    const double start = Now(options.cpu_time);
    CHOIR_ASSIGN_OR_RETURN(loss, step->Run());
    best = std::min(best, Now(options.cpu_time) - start);
  }
  const double gflops = step->flops() / best * 1e-9;
  const engine::MemoryUse memory = step->executable().memory_use();
  constexpr double kMib = 1 << 20;
  fmt::print("compute {} weights {} threads {} tokens {}\n", options.compute, options.weights,
             threads, shape.tokens);
  fmt::print("tokens/s           {:.0f}\n", static_cast<double>(shape.tokens) / best);
  fmt::print("step               {:.1f} ms, {:.1f} GFLOP\n", best * 1e3, step->flops() * 1e-9);
  fmt::print("GFLOP/s            {:.0f}, {:.0f} % of oneDNN's peak of {:.0f}\n", gflops,
             100 * gflops / peak, peak);
  fmt::print("memory             weights {:.0f} MiB, arena {:.1f} MiB, workspace {:.1f} MiB\n",
             static_cast<double>(step->weight_bytes()) / kMib,
             static_cast<double>(memory.arena_bytes) / kMib,
             static_cast<double>(memory.workspace_bytes) / kMib);
  fmt::print("peak RSS           {:.0f} MiB ({:.0f} before the model)\n", PeakRssMib(), rss_before);
  fmt::print("setup              {:.2f} s\n", compiled);
  fmt::print("loss               {:.4f} -> {:.4f}\n", first_loss, loss);
  if (options.by_op) PrintByOp(step->executable());
  return absl::OkStatus();
}

}  // namespace
}  // namespace choir::bench

int main(int argc, char** argv) {
  choir::bench::Options options;
  CLI::App app("Training speed on the CPU, as a share of what oneDNN reaches");
  app.add_option("--compute", options.compute)->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--weights", options.weights);
  app.add_option("--tokens", options.shape.tokens)->check(CLI::Range(1, 8192));
  app.add_option("--layers", options.shape.layers)->check(CLI::Range(1, 128));
  app.add_option("--threads", options.threads)->check(CLI::Range(0, 1024));
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 1000));
  app.add_flag("--by-op", options.by_op, "shares of the ops");
  app.add_flag("--cpu-time", options.cpu_time, "CPU seconds instead of wall seconds; one thread");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = choir::bench::Measure(options);
  if (status.ok()) return 0;
  fmt::print(stderr, "train_bench: error: {}\n", status.ToString());
  return 1;
}
