#include "node/worker/job.h"

#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "base/file.h"
#include "base/json_file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace choir::node {
namespace {

static_assert(std::endian::native == std::endian::little, "delta.f32 is little-endian");

constexpr uint64_t kMaxDeltaBytes = uint64_t{4} << 30;

std::string JobFile(const std::string& folder) {
  return folder + "/job.json";
}
std::string ResultFile(const std::string& folder) {
  return folder + "/result.json";
}
std::string DeltaFile(const std::string& folder) {
  return folder + "/delta.f32";
}

Job JobFrom(const nlohmann::json& json) {
  Job job;
  json.at("model").get_to(job.model_path);
  json.at("adapter").get_to(job.adapter_path);
  json.at("basis").get_to(job.basis_path);
  json.at("adapter_version").get_to(job.adapter_version);
  json.at("data").get_to(job.data_folder);
  json.at("contribution").get_to(job.contribution);
  json.at("personal").get_to(job.personal_path);
  json.at("local_steps").get_to(job.local_steps);
  json.at("local_epochs").get_to(job.local_epochs);
  json.at("learning_rate").get_to(job.learning_rate);
  json.at("weight_decay").get_to(job.weight_decay);
  json.at("context_tokens").get_to(job.context_tokens);
  json.at("batch").get_to(job.batch);
  json.at("max_gradient_norm").get_to(job.max_gradient_norm);
  json.at("lora_dropout").get_to(job.lora_dropout);
  json.at("dropout_seed").get_to(job.dropout_seed);
  json.at("proximal_mu").get_to(job.proximal_mu);
  json.at("window_first").get_to(job.window_first);
  json.at("window_count").get_to(job.window_count);
  json.at("window_of").get_to(job.window_of);
  json.at("packing").get_to(job.packing);
  json.at("train_on").get_to(job.train_on);
  json.at("compute").get_to(job.compute);
  json.at("seed").get_to(job.seed);
  json.at("skip_micro_batches").get_to(job.skip_micro_batches);
  json.at("backend").get_to(job.backend);
  json.at("threads").get_to(job.threads);
  json.at("nice").get_to(job.niceness);
  json.at("cache_dir").get_to(job.cache_dir);
  json.at("max_memory_bytes").get_to(job.max_memory_bytes);
  return job;
}

JobResult ResultFrom(const nlohmann::json& json) {
  JobResult result;
  json.at("examples").get_to(result.examples);
  json.at("tokens").get_to(result.tokens);
  json.at("loss_sum").get_to(result.loss_sum);
  json.at("steps").get_to(result.steps);
  json.at("mean_loss").get_to(result.mean_loss);
  return result;
}

JobProgress ProgressFrom(const nlohmann::json& json) {
  JobProgress progress;
  json.at("step").get_to(progress.step);
  json.at("total_steps").get_to(progress.total_steps);
  json.at("loss").get_to(progress.loss);
  json.at("tokens_per_second").get_to(progress.tokens_per_second);
  return progress;
}

}  // namespace

std::string TrainedAdapterPath(const std::string& folder) {
  return folder + "/trained.gguf";
}

absl::Status WriteJob(const std::string& folder, const Job& job) {
  const nlohmann::json json = {{"model", job.model_path},
                               {"adapter", job.adapter_path},
                               {"basis", job.basis_path},
                               {"adapter_version", job.adapter_version},
                               {"data", job.data_folder},
                               {"contribution", job.contribution},
                               {"personal", job.personal_path},
                               {"local_steps", job.local_steps},
                               {"local_epochs", job.local_epochs},
                               {"learning_rate", job.learning_rate},
                               {"weight_decay", job.weight_decay},
                               {"context_tokens", job.context_tokens},
                               {"batch", job.batch},
                               {"max_gradient_norm", job.max_gradient_norm},
                               {"lora_dropout", job.lora_dropout},
                               {"dropout_seed", job.dropout_seed},
                               {"proximal_mu", job.proximal_mu},
                               {"window_first", job.window_first},
                               {"window_count", job.window_count},
                               {"window_of", job.window_of},
                               {"packing", job.packing},
                               {"train_on", job.train_on},
                               {"compute", job.compute},
                               {"seed", job.seed},
                               {"skip_micro_batches", job.skip_micro_batches},
                               {"backend", job.backend},
                               {"threads", job.threads},
                               {"nice", job.niceness},
                               {"cache_dir", job.cache_dir},
                               {"max_memory_bytes", job.max_memory_bytes}};
  CHOIR_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  return WriteJsonFile(JobFile(folder), json);
}

absl::StatusOr<Job> ReadJob(const std::string& folder) {
  return ReadJsonFile(JobFile(folder), &JobFrom);
}

absl::Status WriteJobResult(const std::string& folder, const JobResult& result,
                            const std::vector<float>& delta) {
  const std::string_view bytes(reinterpret_cast<const char*>(delta.data()),
                               delta.size() * sizeof(float));
  CHOIR_RETURN_IF_ERROR(AtomicWriteSecretFile(DeltaFile(folder), bytes));
  const nlohmann::json json = {
      {"examples", result.examples},   {"tokens", result.tokens},
      {"loss_sum", result.loss_sum},   {"steps", result.steps},
      {"mean_loss", result.mean_loss}, {"delta_sha256", DigestToHex(Sha256Of(bytes))}};
  return WriteJsonFile(ResultFile(folder), json);
}

absl::StatusOr<JobResult> ReadJobResult(const std::string& folder) {
  return ReadJsonFile(ResultFile(folder), &ResultFrom);
}

absl::StatusOr<std::vector<float>> ReadJobDelta(const std::string& folder) {
  CHOIR_ASSIGN_OR_RETURN(
      const std::string expected,
      ReadJsonFile<std::string>(ResultFile(folder), [](const nlohmann::json& json) {
        return json.at("delta_sha256").get<std::string>();
      }));
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(DeltaFile(folder), kMaxDeltaBytes));
  if (bytes.size() % sizeof(float) != 0 ||
      DigestToHex(Sha256Of(std::string_view(bytes))) != expected) {
    return absl::DataLossError(
        fmt::format("{} is not the delta that was trained", DeltaFile(folder)));
  }
  std::vector<float> delta(bytes.size() / sizeof(float));
  std::memcpy(delta.data(), bytes.data(), bytes.size());
  return delta;
}

std::string ProgressLine(const JobProgress& progress) {
  return nlohmann::json{{"step", progress.step},
                        {"total_steps", progress.total_steps},
                        {"loss", progress.loss},
                        {"tokens_per_second", progress.tokens_per_second}}
      .dump();
}

absl::StatusOr<JobProgress> ParseProgressLine(const std::string& line) {
  try {
    return ProgressFrom(nlohmann::json::parse(line));
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(fmt::format("not a progress line: {}", error.what()));
  }
}

}  // namespace choir::node
