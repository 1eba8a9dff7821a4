#include "coordinator/gate/evaluation_files.h"

#include "base/file.h"
#include "base/json_file.h"
#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace choir::coordinator {
namespace {

std::string JobFile(const std::string& folder) {
  return folder + "/job.json";
}
std::string ResultFile(const std::string& folder) {
  return folder + "/result.json";
}

EvaluationJob JobFrom(const nlohmann::json& json) {
  EvaluationJob job;
  json.at("model").get_to(job.model_path);
  json.at("adapter").get_to(job.adapter_path);
  json.at("data").get_to(job.data_path);
  json.at("context_tokens").get_to(job.context_tokens);
  json.at("packing").get_to(job.packing);
  json.at("train_on").get_to(job.train_on);
  json.at("compute").get_to(job.compute);
  return job;
}

}  // namespace

absl::Status WriteEvaluationJob(const std::string& folder, const EvaluationJob& job) {
  const nlohmann::json json = {{"model", job.model_path}, {"adapter", job.adapter_path},
                               {"data", job.data_path},   {"context_tokens", job.context_tokens},
                               {"packing", job.packing},  {"train_on", job.train_on},
                               {"compute", job.compute}};
  CHOIR_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  return WriteJsonFile(JobFile(folder), json);
}

absl::StatusOr<EvaluationJob> ReadEvaluationJob(const std::string& folder) {
  return ReadJsonFile(JobFile(folder), &JobFrom);
}

absl::Status WriteEvaluationResult(const std::string& folder, double mean_nll) {
  const nlohmann::json json = {{"mean_nll", mean_nll}};
  return WriteJsonFile(ResultFile(folder), json);
}

absl::StatusOr<double> ReadEvaluationResult(const std::string& folder) {
  return ReadJsonFile<double>(ResultFile(folder), [](const nlohmann::json& json) {
    return json.at("mean_nll").get<double>();
  });
}

}  // namespace choir::coordinator
