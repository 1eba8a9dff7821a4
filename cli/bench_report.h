#ifndef CHOIR_CLI_BENCH_REPORT_H_
#define CHOIR_CLI_BENCH_REPORT_H_

// What `choir bench` has found, as text for people and as JSON.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/infer_measure.h"
#include "bench/train_measure.h"
#include "engine/backend/backend.h"
#include "engine/graph/kept_activations.h"
#include "nlohmann/json.hpp"

namespace choir::cli {

// What was measured, and what the machine can do at best.
struct BenchHead {
  std::string shape;
  std::string format;
  engine::DeviceInfo device;
  int threads = 0;  // 0: not on the CPU
  bool bf16 = false;
  int64_t context_tokens = 0;
  uint64_t weight_bytes = 0;
  std::vector<double> gemm_peaks_gflops;  // each time that it was measured
  double read_gb_per_s = 0;               // 0: not measured
  bool profile = false;

  // 0: not measured.
  [[nodiscard]] double GemmPeakGflops() const {
    return gemm_peaks_gflops.empty()
               ? 0
               : *std::max_element(gemm_peaks_gflops.begin(), gemm_peaks_gflops.end());
  }
};

struct BenchTraining {
  bench::TrainMeasurement measured;
  int64_t batch = 1;
  int rank = 0;
  std::string modules;
  int64_t recomputed_blocks = 0;
  engine::KeptActivations kept = engine::KeptActivations::kAll;
  int64_t blocks = 0;
  bool streams = false;  // weights from the file, within the budget
  // Of the process's memory, before anything was allocated; of a device with memory of its own
  // that device's, and the process's beside it.
  uint64_t predicted_bytes = 0;
  uint64_t predicted_host_bytes = 0;  // 0: the device has no memory of its own
  uint64_t device_bytes = 0;          // most in buffers on such a device
};

struct BenchReport {
  BenchHead head;
  std::optional<BenchTraining> train;
  std::optional<bench::InferMeasurement> prompt;
  std::optional<bench::InferMeasurement> generate;
};

// "48 %"; and "(48 % of the best)", or nothing where the best is not known.
std::string Percent(double part, double whole);
std::string ShareOf(double part, double whole, const char* of);
// Device, threads and products, with the line end.
std::string DescribeMachine(const BenchHead& head);
// The head's part of the JSON.
nlohmann::json HeadToJson(const BenchHead& head);
nlohmann::json OpsToJson(const std::vector<bench::OpProfile>& ops);

std::string DescribeBench(const BenchReport& report);
nlohmann::json BenchToJson(const BenchReport& report);

}  // namespace choir::cli

#endif  // CHOIR_CLI_BENCH_REPORT_H_
