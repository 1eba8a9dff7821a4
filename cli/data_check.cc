// `choir data check`: what a data set holds, and what training would make of it.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/engine_options.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/interrupt.h"
#include "engine/chat/chat_template.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/train/data_survey.h"
#include "engine/train/document_store.h"
#include "engine/train/packer.h"
#include "engine/train/training_data.h"

namespace choir::cli {
namespace {

constexpr size_t kShownProblems = 10;
constexpr size_t kKeptProblems = 100;
constexpr uint64_t kBarWidth = 40;

struct Options {
  std::vector<std::string> paths;
  std::string model;
  DataOptions data;
};

// What a tokenizer makes of the data.
struct TokenSurvey {
  engine::LengthSurvey lengths;
  std::shared_ptr<engine::DocumentStore> documents = std::make_shared<engine::DocumentStore>();
  uint64_t without_target = 0;
  uint64_t longer = 0;  // than a micro-batch
  int64_t context_tokens = 0;
  uint64_t micro_batches = 0;
  double useful = 0;  // part of the places that no padding takes
};

class DataCheck {
 public:
  DataCheck(const Options& options, Output& output) : options_(options), output_(output) {}
  absl::Status Run();

 private:
  absl::Status OpenTokenizer();
  absl::Status Visit(const engine::Example& example, const engine::ExampleOrigin& origin);
  absl::Status Tokenize(const engine::Example& example, const engine::ExampleOrigin& origin);
  absl::Status Pack();
  void AddProblem(engine::BadLine problem);
  void AddOtherFile(std::string file);
  [[nodiscard]] std::string Describe();
  [[nodiscard]] std::string DescribeFiles() const;
  [[nodiscard]] std::string DescribeProblems() const;
  [[nodiscard]] std::string DescribeTokens();
  [[nodiscard]] nlohmann::json ToJson();

  const Options& options_;
  Output& output_;
  std::optional<engine::GgufFile> model_;
  std::unique_ptr<engine::Tokenizer> tokenizer_;
  engine::TokenizeOptions tokenize_;
  engine::DataSurvey survey_;
  TokenSurvey tokens_;
  uint64_t bad_lines_ = 0;
  uint64_t other_files_ = 0;
  std::vector<std::string> first_other_files_;
  uint64_t untokenised_ = 0;
  std::vector<engine::BadLine> problems_;
};

absl::Status DataCheck::Run() {
  if (!options_.model.empty()) CHOIR_RETURN_IF_ERROR(OpenTokenizer());
  engine::DatasetOptions reading;
  reading.skip_bad_lines = true;
  reading.max_bytes = engine::kMaxStreamedBytes;
  absl::Status nothing;
  for (const std::string& path : options_.paths) {
    engine::DatasetReport report;
    const absl::Status status = engine::VisitExamples(
        path, reading,
        [this](const engine::Example& example, const engine::ExampleOrigin& origin) {
          return Visit(example, origin);
        },
        &report);
    bad_lines_ += report.bad_lines;
    for (const auto& [file, lines] : report.bad_lines_by_file) {
      survey_.files[file].unusable_lines += lines;
    }
    other_files_ += report.other_files;
    for (std::string& file : report.first_other_files) AddOtherFile(std::move(file));
    for (const engine::BadLine& line : report.first_bad_lines) AddProblem(line);
    // A path without an example is told about; only all of them together are an error.
    if (!status.ok() && report.files > 0 && report.examples == 0) {
      nothing = BadInput("data", path, status);
    } else if (!status.ok()) {
      return BadInput("data", path, status);
    }
  }
  if (tokenizer_ != nullptr) CHOIR_RETURN_IF_ERROR(Pack());
  if (survey_.bytes.count() > 0) output_.Line(Describe());
  output_.Json(ToJson());
  if (survey_.bytes.count() == 0) return nothing;
  if (tokenizer_ != nullptr && tokens_.documents->documents() == 0) {
    return BadInput("data", options_.paths.front(),
                    absl::InvalidArgumentError("nothing in it can be trained on"));
  }
  return absl::OkStatus();
}

absl::Status DataCheck::OpenTokenizer() {
  CHOIR_ASSIGN_OR_RETURN(model_, OpenModelFile(options_.model));
  auto tokenizer = engine::LoadTokenizer(*model_);
  if (!tokenizer.ok()) return BadInput("model", options_.model, tokenizer.status());
  tokenizer_ = *std::move(tokenizer);
  CHOIR_ASSIGN_OR_RETURN(tokenize_.train_on, engine::ParseTrainOn(options_.data.train_on));
  tokenize_.append_eos = options_.data.append_eos;
  tokenize_.chat_formatter =
      engine::MakeChatFormatter(*model_, *tokenizer_, options_.data.chat_template);
  tokens_.context_tokens =
      options_.data.context_tokens > 0 ? options_.data.context_tokens : kDefaultContextTokens;
  return absl::OkStatus();
}

void DataCheck::AddProblem(engine::BadLine problem) {
  if (problems_.size() < kKeptProblems) problems_.push_back(std::move(problem));
}

void DataCheck::AddOtherFile(std::string file) {
  if (first_other_files_.size() < kKeptProblems) first_other_files_.push_back(std::move(file));
}

absl::Status DataCheck::Visit(const engine::Example& example, const engine::ExampleOrigin& origin) {
  if (InterruptRequested()) return absl::CancelledError("the check was stopped");
  survey_.Add(example, origin);
  return tokenizer_ == nullptr ? absl::OkStatus() : Tokenize(example, origin);
}

absl::Status DataCheck::Tokenize(const engine::Example& example,
                                 const engine::ExampleOrigin& origin) {
  const auto document = engine::TokenizeExample(example, *tokenizer_, tokenize_);
  if (!document.ok()) {
    ++untokenised_;
    ++survey_.files[origin.file].unusable_lines;
    AddProblem({origin.file, origin.line, MessageOf(document.status())});
    return absl::OkStatus();
  }
  tokens_.lengths.Add(document->tokens.size());
  if (!engine::HasTarget(*document)) {
    ++tokens_.without_target;
    return absl::OkStatus();
  }
  if (static_cast<int64_t>(document->tokens.size()) - 1 > tokens_.context_tokens) ++tokens_.longer;
  return tokens_.documents->Append(*document);
}

absl::Status DataCheck::Pack() {
  if (tokens_.documents->documents() == 0) return absl::OkStatus();
  engine::PackerOptions packing;
  packing.tokens_per_micro_batch = tokens_.context_tokens;
  std::shared_ptr<const engine::DocumentStore> documents = tokens_.documents;
  CHOIR_ASSIGN_OR_RETURN(const engine::Packer packer,
                         engine::Packer::Create(std::move(documents), packing, 0));
  tokens_.micro_batches = packer.MicroBatchesInEpoch();
  tokens_.useful =
      static_cast<double>(packer.TokensPerEpoch()) /
      (static_cast<double>(tokens_.micro_batches) * static_cast<double>(tokens_.context_tokens));
  return absl::OkStatus();
}

std::string Count(uint64_t count) {
  return HumaneCount(static_cast<int64_t>(count));
}

std::string DescribeLengths(const char* unit, engine::LengthSurvey& lengths) {
  std::string text = fmt::format(
      "{}: {} in all; an example has {} to {}, mean {:.1f}; 5 % have at most {}, half {}, 95 % "
      "{}, 99 % {}\n",
      unit, Count(lengths.total()), Count(lengths.Quantile(0)), Count(lengths.Quantile(1)),
      lengths.Mean(), Count(lengths.Quantile(0.05)), Count(lengths.Quantile(0.5)),
      Count(lengths.Quantile(0.95)), Count(lengths.Quantile(0.99)));
  const auto histogram = lengths.Histogram();
  uint64_t most = 1;
  for (const auto& [from, count] : histogram) most = std::max(most, count);
  for (const auto& [from, count] : histogram) {
    text += fmt::format("  {:>9} to {:<9} {:>9}  {}\n", Count(from), Count(2 * from - 1),
                        Count(count), std::string((count * kBarWidth + most - 1) / most, '#'));
  }
  return text;
}

std::string DataCheck::DescribeProblems() const {
  const uint64_t all = bad_lines_ + untokenised_;
  if (all == 0) return {};
  std::string text = fmt::format("\n{} lines cannot be used:\n", Count(all));
  for (size_t i = 0; i < std::min(problems_.size(), kShownProblems); ++i) {
    const engine::BadLine& problem = problems_[i];
    text += problem.line == 0
                ? fmt::format("  {}: {}\n", problem.file, problem.reason)
                : fmt::format("  {}:{}: {}\n", problem.file, problem.line, problem.reason);
  }
  if (all > kShownProblems) {
    text += fmt::format("  and {} more (--json has up to {})\n", Count(all - kShownProblems),
                        kKeptProblems);
  }
  return text;
}

std::string DataCheck::DescribeTokens() {
  std::string text = "\n" + DescribeLengths("tokens", tokens_.lengths);
  if (tokens_.micro_batches > 0) {
    text += fmt::format(
        "\npacked into micro-batches of {} (--ctx): {} of them, {:.1f} % of their places used\n",
        Count(static_cast<uint64_t>(tokens_.context_tokens)), Count(tokens_.micro_batches),
        100 * tokens_.useful);
  }
  if (tokens_.longer > 0) {
    text += fmt::format("{} examples are longer than that, and are split\n", Count(tokens_.longer));
  }
  if (tokens_.without_target > 0) {
    text += fmt::format("{} examples have nothing to predict, and are left out\n",
                        Count(tokens_.without_target));
  }
  return text;
}

// Each file that examples or bad lines came from, and what stood beside them.
std::string DataCheck::DescribeFiles() const {
  TextTable table({"file", "examples", "size", "unusable"});
  for (const auto& [name, file] : survey_.files) {
    table.AddRow({name, Count(file.examples), HumaneBytes(file.bytes), Count(file.unusable_lines)});
  }
  std::string text = table.Render() + "\n\n";
  if (other_files_ == 0) return text;
  text += fmt::format("left out, as their names are not .jsonl, .txt or .md ({}):\n",
                      Count(other_files_));
  for (size_t i = 0; i < std::min(first_other_files_.size(), kShownProblems); ++i) {
    text += fmt::format("  {}\n", first_other_files_[i]);
  }
  if (other_files_ > kShownProblems) {
    text += fmt::format("  and {} more\n", Count(other_files_ - kShownProblems));
  }
  return text + "\n";
}

std::string DataCheck::Describe() {
  std::string text = DescribeFiles();
  text += fmt::format("{} examples: {} texts, {} prompts with completion, {} conversations\n",
                      Count(survey_.bytes.count()), Count(survey_.texts), Count(survey_.pairs),
                      Count(survey_.conversations));
  if (survey_.loose_repeats > 0) {
    text += fmt::format(
        "{} say exactly what an earlier one said (--dedup leaves these out), {} more but for white "
        "space\n",
        Count(survey_.exact_repeats), Count(survey_.loose_repeats - survey_.exact_repeats));
  }
  text += DescribeProblems() + "\n" + DescribeLengths("bytes", survey_.bytes);
  if (tokenizer_ != nullptr) text += DescribeTokens();
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

nlohmann::json LengthsToJson(engine::LengthSurvey& lengths) {
  nlohmann::json histogram = nlohmann::json::array();
  for (const auto& [from, count] : lengths.Histogram()) {
    histogram.push_back({{"from", from}, {"below", 2 * from}, {"examples", count}});
  }
  return {{"total", lengths.total()},         {"mean", lengths.Mean()},
          {"min", lengths.Quantile(0)},       {"p5", lengths.Quantile(0.05)},
          {"p50", lengths.Quantile(0.5)},     {"p95", lengths.Quantile(0.95)},
          {"p99", lengths.Quantile(0.99)},    {"max", lengths.Quantile(1)},
          {"histogram", std::move(histogram)}};
}

nlohmann::json DataCheck::ToJson() {
  nlohmann::json files = nlohmann::json::array();
  for (const auto& [name, file] : survey_.files) {
    files.push_back({{"file", name},
                     {"examples", file.examples},
                     {"bytes", file.bytes},
                     {"unusable_lines", file.unusable_lines}});
  }
  nlohmann::json problems = nlohmann::json::array();
  for (const engine::BadLine& problem : problems_) {
    problems.push_back(
        {{"file", problem.file}, {"line", problem.line}, {"reason", problem.reason}});
  }
  nlohmann::json json = {
      {"files", std::move(files)},
      {"examples", survey_.bytes.count()},
      {"texts", survey_.texts},
      {"prompt_completions", survey_.pairs},
      {"conversations", survey_.conversations},
      {"exact_duplicates", survey_.exact_repeats},
      {"loose_duplicates", survey_.loose_repeats},
      {"unusable_lines", bad_lines_ + untokenised_},
      {"other_files", other_files_},
      {"first_other_files", first_other_files_},
      {"problems", std::move(problems)},
      {"bytes", LengthsToJson(survey_.bytes)},
  };
  if (tokenizer_ == nullptr) return json;
  json["tokens"] = LengthsToJson(tokens_.lengths);
  json["packing"] = {{"context_tokens", tokens_.context_tokens},
                     {"micro_batches", tokens_.micro_batches},
                     {"useful_tokens", tokens_.useful},
                     {"longer_examples", tokens_.longer},
                     {"nothing_to_predict", tokens_.without_target}};
  return json;
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("paths", options->paths, "JSONL, text or Markdown; files and folders")
      ->required()
      ->type_name("PATH...");
  app.add_option("--model", options->model, "Count tokens as this model does (GGUF)")
      ->type_name("FILE");
  app.add_option("--ctx", options->data.context_tokens,
                 fmt::format("Tokens of a micro-batch (default {})", kDefaultContextTokens))
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
      ->type_name("N");
  app.add_option("--train-on", options->data.train_on,
                 "Which tokens are to be predicted: all, or the completion's only")
      ->check(OneOf({"all", "completion"}))
      ->type_name("WHAT")
      ->capture_default_str();
  AddChatTemplateOption(app, options->data.chat_template);
  app.footer(
      "Reads everything and changes nothing: what is there, what cannot be used and why, repeats,\n"
      "lengths, and with --model how well it packs. Ends with exit code 3 if nothing can be "
      "used.\n\n"
      "Examples:\n"
      "  choir data check notes/ chats.jsonl\n"
      "  choir data check chats.jsonl --model base.gguf --ctx 1024 --train-on completion\n"
      "  choir data check notes/ --json | jq .exact_duplicates\n");
  return
      [options](Environment& environment) { return DataCheck(*options, environment.output).Run(); };
}

}  // namespace

const Command kDataCheckCommand = {"data check", "What a data set holds, and what is wrong with it",
                                   &Declare};

}  // namespace choir::cli
