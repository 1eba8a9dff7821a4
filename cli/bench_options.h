#ifndef CHOIR_CLI_BENCH_OPTIONS_H_
#define CHOIR_CLI_BENCH_OPTIONS_H_

// The options of `choir bench`.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "cli/engine_options.h"
#include "engine/infer/cached_model.h"

namespace choir::cli {

struct BenchOptions {
  std::string what = "all";
  std::string shape = "llama-134m";
  std::string model;
  std::string tokenizer;
  std::string formats = "Q8_0";
  std::string data;
  std::string folder;
  std::string modules = "all";
  std::string recompute = "auto";
  std::string budget;
  std::string trace;
  int64_t context_tokens = 256;
  int64_t batch = 1;
  int64_t steps = 5;
  int64_t prompt_batch = engine::CachedModelOptions{}.prompt_tokens;
  int64_t new_tokens = 32;
  int rank = 8;
  bool lora = false;  // prompts and generation also with an adapter
  bool quick = false;
  bool profile = false;
  DeviceOptions device;

  [[nodiscard]] bool Wants(std::string_view part) const { return what == "all" || what == part; }
  // The words of --dtype.
  [[nodiscard]] std::vector<std::string> Formats() const;
};

void AddBenchOptions(CLI::App& app, BenchOptions& options);

}  // namespace choir::cli

#endif  // CHOIR_CLI_BENCH_OPTIONS_H_
