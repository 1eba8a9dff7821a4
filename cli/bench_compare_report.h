#ifndef CHOIR_CLI_BENCH_COMPARE_REPORT_H_
#define CHOIR_CLI_BENCH_COMPARE_REPORT_H_

// What a comparison of `choir bench` has found, as text for people and as JSON.

#include <cstdint>
#include <string>
#include <vector>

#include "bench/in_turn.h"
#include "bench/op_work.h"
#include "cli/bench_report.h"
#include "nlohmann/json.hpp"

namespace choir::cli {

// One of those that took turns.
struct ComparedRun {
  std::string format;
  bool adapter = false;
  uint64_t weight_bytes = 0;
  bench::Times times;          // of steps
  double tokens_per_step = 0;  // real ones
  bench::Work work;            // of a step
  std::vector<bench::OpProfile> ops;

  [[nodiscard]] std::string Label() const { return adapter ? format + " + LoRA" : format; }
};

struct ComparedPart {
  std::string name;           // "train", "prompt" or "generate"
  std::string heading;        // what a step was
  bool by_bandwidth = false;  // compared with reading memory instead of products
  std::vector<ComparedRun> runs;
  // Reading memory, in turn with them; empty where it was not measured.
  bench::Times reading = {};
  double reading_bytes = 0;
};

struct Comparison {
  BenchHead head;
  std::string modules;
  int rank = 0;
  std::vector<ComparedPart> parts;
};

std::string DescribeComparison(const Comparison& comparison);
nlohmann::json ComparisonToJson(const Comparison& comparison);

}  // namespace choir::cli

#endif  // CHOIR_CLI_BENCH_COMPARE_REPORT_H_
