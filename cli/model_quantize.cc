// `choir model quantize`: a model file in another weight format.

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "engine/convert/quantize_model.h"

namespace choir::cli {
namespace {

struct Options {
  std::string input;
  std::string output;
  std::string type;
  std::vector<std::string> keep;
  int threads = 0;
};

std::string FormatNames() {
  std::string names;
  for (const engine::WeightFormat* format : engine::AllWeightFormats()) {
    if (format->quantize_row == nullptr) continue;
    if (!names.empty()) names += ", ";
    names += format->name;
  }
  return names;
}

absl::StatusOr<const engine::WeightFormat*> FormatOf(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const engine::WeightFormat* format = engine::FindWeightFormat(name);
  if (format != nullptr && format->quantize_row != nullptr) return format;
  return UsageError(fmt::format("there is no type {} to write", name),
                    fmt::format("types: {}", FormatNames()));
}

// Tensors that did not get the type asked for, but for the vectors, which never do.
bool IsException(const engine::QuantizedTensor& tensor) {
  using enum engine::QuantizeReason;
  return tensor.reason != kConverted && tensor.reason != kSameFormat && tensor.reason != kVector;
}

nlohmann::json ToJson(const engine::QuantizeReport& report, const std::string& path) {
  nlohmann::json tensors = nlohmann::json::array();
  for (const engine::QuantizedTensor& tensor : report.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"shape", tensor.shape},
                       {"from", tensor.from},
                       {"to", tensor.to},
                       {"from_bytes", tensor.from_bytes},
                       {"to_bytes", tensor.to_bytes},
                       {"reason", engine::ReasonText(tensor.reason)},
                       {"relative_error", tensor.relative_error}});
  }
  return {{"output", path},
          {"from_bytes", report.from_bytes},
          {"to_bytes", report.to_bytes},
          {"tensors", std::move(tensors)}};
}

void Show(const engine::QuantizeReport& report, const std::string& path, Output& output) {
  struct Sum {
    int64_t tensors = 0;
    uint64_t bytes = 0;
    double worst_error = 0;
  };
  std::map<std::string, Sum> sums;
  TextTable exceptions({"TENSOR", "SHAPE", "TYPE", "WHY"});
  bool any_exception = false;
  for (const engine::QuantizedTensor& tensor : report.tensors) {
    Sum& sum = sums[tensor.to];
    ++sum.tensors;
    sum.bytes += tensor.to_bytes;
    sum.worst_error = std::max(sum.worst_error, tensor.relative_error);
    if (!IsException(tensor)) continue;
    any_exception = true;
    exceptions.AddRow(
        {tensor.name, tensor.shape, tensor.to, std::string(engine::ReasonText(tensor.reason))});
  }
  TextTable table({"TYPE", "TENSORS", "SIZE", "LARGEST ERROR"});
  for (const auto& [type, sum] : sums) {
    table.AddRow({type, fmt::format("{}", sum.tensors), HumaneBytes(sum.bytes),
                  fmt::format("{:.2f} %", 100 * sum.worst_error)});
  }
  output.Line(fmt::format("{}: weights of {}, were {}", path, HumaneBytes(report.to_bytes),
                          HumaneBytes(report.from_bytes)));
  output.Line(table.Render());
  if (any_exception) output.Line("Of another type:\n" + exceptions.Render());
}

absl::Status Run(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const engine::WeightFormat* const format, FormatOf(options.type));
  absl::StatusOr<engine::GgufFile> file = engine::GgufFile::Open(options.input);
  CHOIR_RETURN_IF_ERROR(BadInput("model", options.input, file.status()));
  engine::QuantizeOptions quantize = {.format = format, .keep = options.keep};
  quantize.threads = options.threads > 0
                         ? options.threads
                         : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  ProgressBar bar(environment.output, environment.clock, "quantize",
                  static_cast<int64_t>(file->size_bytes()));
  const auto report =
      engine::QuantizeModel(*file, options.output, quantize,
                            [&bar](std::string_view tensor, uint64_t done, uint64_t /*total*/) {
                              bar.Update(static_cast<int64_t>(done), tensor);
                              return !InterruptRequested();
                            });
  bar.Finish();
  CHOIR_RETURN_IF_ERROR(report.status());
  Show(*report, options.output, environment.output);
  environment.output.Json(ToJson(*report, options.output));
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("input", options->input, "Model to read (GGUF)")->required()->type_name("IN");
  app.add_option("output", options->output, "Where to write the new one")
      ->required()
      ->type_name("OUT");
  app.add_option("--type,-t", options->type, "Weight format: " + FormatNames())
      ->required()
      ->type_name("TYPE");
  app.add_option("--keep", options->keep,
                 "Tensors that stay as they are, by a part of their names, as in output,token_embd")
      ->delimiter(',')
      ->type_name("LIST");
  app.add_option("--threads", options->threads, "Threads. Default: all cores")
      ->check(CLI::Range(1, 1024));
  app.footer(
      "Vectors become F32; rows that are no whole number of blocks (32, or 256 for the K and TQ\n"
      "types) become F16. TQ1_0 and TQ2_0 take ternary tensors only and leave the others as they\n"
      "are. The error is the root mean square of the change, as a share of that of the weights.\n\n"
      "Examples:\n"
      "  choir model quantize model-f16.gguf model-q4_k.gguf --type Q4_K\n"
      "  choir model quantize model-f16.gguf model-q5_k.gguf --type Q5_K --keep token_embd\n"
      "  choir model quantize bitnet-f16.gguf bitnet-tq2_0.gguf --type TQ2_0 --json\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kModelQuantizeCommand = {"model quantize",
                                       "Write a model's weights in another format", &Declare};

}  // namespace choir::cli
