#ifndef CHOIR_CLI_RUN_FILE_H_
#define CHOIR_CLI_RUN_FILE_H_

// A run as its operator writes it (TOML; configs/run.toml has every setting with its default).

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "choir/v1/run.pb.h"

namespace choir::cli {

struct RunFile {
  // run_id and every spec; not yet what depends on the base model's file.
  v1::RunConfig config;
  std::string base_model_path;       // relative paths are from the TOML file's folder
  std::string gate_data_path;        // held-out texts (JSONL); empty: no evaluation gate
  std::string initial_adapter_path;  // GGUF file or PEFT folder; empty: a fresh one
  // [lora] says of what shape the adapter is (rank, alpha, rslora or modules); its dropout.
  bool lora_shape_given = false;
  bool lora_dropout_given = false;
  int64_t valid_days = 30;
};

// INVALID_ARGUMENT names line or setting, what it holds and what it may hold; unknown settings too.
absl::StatusOr<RunFile> ParseRunFile(std::string_view toml, const std::string& path);

}  // namespace choir::cli

#endif  // CHOIR_CLI_RUN_FILE_H_
