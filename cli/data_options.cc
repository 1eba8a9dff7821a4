#include "cli/data_options.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "engine/chat/chat_template.h"
#include "engine/train/dataset.h"

namespace choir::cli {
namespace {

constexpr const char* kGroup = "Data";
constexpr const char* kFormatHint =
    "each line is {\"text\"}, {\"prompt\",\"completion\"} or "
    "{\"messages\":[{\"role\",\"content\"}]};"
    " --skip-bad-lines leaves bad ones out";

// A full disk is no matter of form.
const char* FormatHint(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? kFormatHint : "";
}

engine::DatasetOptions DatasetOptionsOf(const DataOptions& options) {
  return {.skip_bad_lines = options.skip_bad_lines,
          .max_bytes = engine::kMaxStreamedBytes,
          .max_examples = std::numeric_limits<uint32_t>::max() - uint64_t{1},
          .deduplicate = options.deduplicate,
          .take = options.take};
}

void ReportLeftOut(const engine::DatasetReport& report, Output& output) {
  if (report.duplicates > 0) {
    output.Note(fmt::format("left out {} duplicates", report.duplicates));
  }
  if (report.bad_lines == 0) return;
  const engine::BadLine& first = report.first_bad_lines.front();
  output.Warning(fmt::format("left out {} bad lines; the first is {}:{}: {}", report.bad_lines,
                             first.file, first.line, first.reason));
}

bool Shuffles(const DataOptions& options, DataUse use) {
  if (use == DataUse::kEvaluation) return false;
  if (options.order == "auto") return options.packing == "packed";
  return options.order == "shuffled";
}

}  // namespace

void AddDataOptions(CLI::App& app, DataOptions& options) {
  app.add_option("--ctx", options.context_tokens,
                 "Tokens of a micro-batch, and the longest document; default: the model's, at most "
                 "512")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
      ->type_name("N")
      ->group(kGroup);
  app.add_option("--packing", options.packing,
                 "packed: documents side by side that never see each other; windows: all text as "
                 "one stream, cut every --ctx tokens, BOS before each")
      ->check(OneOf({"packed", "windows"}))
      ->type_name("HOW")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--train-on", options.train_on, "Loss on all tokens, or on the completion only")
      ->check(OneOf({"all", "completion"}))
      ->type_name("WHAT")
      ->capture_default_str()
      ->group(kGroup);
  AddChatTemplateOption(app, options.chat_template);
  app.add_flag("--eos,!--no-eos", options.append_eos,
               fmt::format("EOS after each packed document, predicted too (default {})",
                           options.append_eos ? "on" : "off"))
      ->group(kGroup);
  app.add_flag("--skip-bad-lines", options.skip_bad_lines,
               "Leave out lines that cannot be read, instead of stopping")
      ->group(kGroup);
  app.add_flag("--dedup", options.deduplicate,
               "Leave out examples that say exactly what an earlier one said (SHA-256)")
      ->group(kGroup);
}

void AddChatTemplateOption(CLI::App& app, std::string& family) {
  std::vector<std::string> names = engine::ChatFamilyNames();
  std::string list;
  for (const std::string& name : names) list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
  app.add_option(
         "--chat-template", family,
         fmt::format("How conversations are written: {}; auto: as the model's file says", list))
      ->check(OneOf(std::move(names)))
      ->type_name("NAME")
      ->capture_default_str()
      ->group(kGroup);
}

void AddOrderOption(CLI::App& app, DataOptions& options) {
  app.add_option("--order", options.order,
                 "shuffled (by --seed, anew in each epoch) or given; auto: windows as given")
      ->check(OneOf({"auto", "shuffled", "given"}))
      ->type_name("HOW")
      ->capture_default_str()
      ->group(kGroup);
}

int64_t ContextTokens(const DataOptions& options, const engine::Model& model) {
  if (options.context_tokens > 0) return options.context_tokens;
  return std::clamp<int64_t>(model.spec().context_length, 1, kDefaultContextTokens);
}

absl::StatusOr<engine::TrainingData> LoadData(const std::string& what, const std::string& path,
                                              const engine::Model& model,
                                              const DataOptions& options, DataUse use,
                                              uint64_t seed, Output& output) {
  engine::TrainingDataOptions data_options;
  CHOIR_ASSIGN_OR_RETURN(data_options.packing, engine::ParsePacking(options.packing));
  CHOIR_ASSIGN_OR_RETURN(data_options.train_on, engine::ParseTrainOn(options.train_on));
  data_options.context_tokens = ContextTokens(options, model);
  data_options.append_eos = options.append_eos;
  data_options.shuffle = Shuffles(options, use);
  data_options.keep_tail = use == DataUse::kEvaluation;
  data_options.seed = seed;
  data_options.chat_formatter =
      engine::MakeChatFormatter(model.file(), model.tokenizer(), options.chat_template);
  engine::DatasetReport report;
  auto data = engine::ReadTrainingData(path, DatasetOptionsOf(options), model.tokenizer(),
                                       data_options, &report);
  if (!data.ok()) return BadInput(what, path, data.status(), FormatHint(data.status()));
  ReportLeftOut(report, output);
  if (data_options.context_tokens > model.spec().context_length) {
    output.Warning(fmt::format("--ctx {} is more than the {} tokens the model was made for",
                               data_options.context_tokens, model.spec().context_length));
  }
  return data;
}

absl::Status ReadDigests(const std::string& what, const std::string& path,
                         const DataOptions& options,
                         const std::function<void(const Digest& loose)>& visit) {
  engine::DatasetOptions reading = DatasetOptionsOf(options);
  reading.take = [&visit](const engine::ExampleDigest& digest) {
    visit(digest.loose);
    return true;
  };
  const auto ignore = [](const engine::Example&, const engine::ExampleOrigin&) {
    return absl::OkStatus();
  };
  const absl::Status status = engine::VisitExamples(path, reading, ignore);
  return status.ok() ? status : BadInput(what, path, status, FormatHint(status));
}

}  // namespace choir::cli
