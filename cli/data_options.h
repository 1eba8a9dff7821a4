#ifndef CHOIR_CLI_DATA_OPTIONS_H_
#define CHOIR_CLI_DATA_OPTIONS_H_

// Options that say how text becomes training or evaluation data, and the reading of it.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "CLI/CLI.hpp"
#include "cli/output.h"
#include "engine/model/model.h"
#include "engine/train/training_data.h"

namespace choir::cli {

struct DataOptions {
  int64_t context_tokens = 0;  // 0: the model's, at most kDefaultContextTokens
  std::string packing = "packed";
  std::string train_on = "all";
  std::string order = "auto";
  std::string chat_template = "auto";
  bool append_eos = true;
  bool skip_bad_lines = false;
  bool deduplicate = false;
  // No option of its own: which examples are read (DatasetOptions::take).
  std::function<bool(const engine::ExampleDigest&)> take{};
};
inline constexpr int64_t kDefaultContextTokens = 512;

// --ctx, --packing, --train-on, --chat-template, --eos / --no-eos, --skip-bad-lines,
// --dedup.
void AddDataOptions(CLI::App& app, DataOptions& options);
// --chat-template alone.
void AddChatTemplateOption(CLI::App& app, std::string& family);
// --order, for training.
void AddOrderOption(CLI::App& app, DataOptions& options);

// The context that the options mean for this model.
int64_t ContextTokens(const DataOptions& options, const engine::Model& model);

enum class DataUse : uint8_t {
  kTraining,    // shuffled unless the options say otherwise; windows that are not full are dropped
  kEvaluation,  // as given; all of it
};

// Reads a file or folder and prepares it; tells what it left out. Errors are about `what`: "data".
absl::StatusOr<engine::TrainingData> LoadData(const std::string& what, const std::string& path,
                                              const engine::Model& model,
                                              const DataOptions& options, DataUse use,
                                              uint64_t seed, Output& output);

// Tells `visit` the loose digest of each example that LoadData would read.
absl::Status ReadDigests(const std::string& what, const std::string& path,
                         const DataOptions& options,
                         const std::function<void(const Digest& loose)>& visit);

}  // namespace choir::cli

#endif  // CHOIR_CLI_DATA_OPTIONS_H_
