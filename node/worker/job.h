#ifndef CHOIR_NODE_WORKER_JOB_H_
#define CHOIR_NODE_WORKER_JOB_H_

// What the daemon gives to its worker process and gets back, as files in one folder: job.json in; a
// checkpoint meanwhile; delta.f32 and, last, result.json out.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir::node {

struct Job {
  std::string model_path;
  std::string adapter_path;
  std::string basis_path;  // where the contribution needs one; otherwise empty
  uint64_t adapter_version = 0;
  std::string data_folder;
  std::string contribution;  // what is trained and sent (engine/lora/contribution.h)
  // Where B is this node's own: the adapter that has it. Empty: B is the common one.
  std::string personal_path;
  // As in the run's TrainingSpec.
  uint32_t local_steps = 0;
  uint32_t local_epochs = 0;
  double learning_rate = 0;
  double weight_decay = 0;
  uint32_t context_tokens = 0;
  uint32_t batch = 1;
  double max_gradient_norm = 0;
  double lora_dropout = 0;
  uint64_t dropout_seed = 0;
  double proximal_mu = 0;
  // Where only some components are trained (engine::ComponentWindow); window_of 0: all.
  uint32_t window_first = 0;
  uint32_t window_count = 0;
  uint32_t window_of = 0;
  std::string packing;   // "packed", "windows"
  std::string train_on;  // "all", "completion"
  std::string compute;   // "auto", "f32", "bf16"
  uint64_t seed = 0;
  // Micro-batches that earlier versions of the run have used: windows go on from there.
  uint64_t skip_micro_batches = 0;
  // The owner's.
  std::string backend;
  int threads = 0;
  int niceness = 10;
  std::string cache_dir;  // of compiled shaders and what was found out about the device
  uint64_t max_memory_bytes = 0;
};

struct JobResult {
  uint64_t examples = 0;  // documents of the owner's data
  uint64_t tokens = 0;    // trained on in this round
  double loss_sum = 0;    // over those tokens
  uint64_t steps = 0;
  double mean_loss = 0;
};

// One line of the worker's standard output.
struct JobProgress {
  uint32_t step = 0;
  uint32_t total_steps = 0;
  double loss = 0;
  double tokens_per_second = 0;
};

absl::Status WriteJob(const std::string& folder, const Job& job);
// Where the worker leaves the whole adapter as trained, if a part of it stays on this device.
std::string TrainedAdapterPath(const std::string& folder);
absl::StatusOr<Job> ReadJob(const std::string& folder);

// Writes delta.f32 (little-endian) and then result.json, each durably: a result means that both are
// there.
absl::Status WriteJobResult(const std::string& folder, const JobResult& result,
                            const std::vector<float>& delta);
// NOT_FOUND while the job is not done. DATA_LOSS if the delta is not the one that the result names.
absl::StatusOr<JobResult> ReadJobResult(const std::string& folder);
absl::StatusOr<std::vector<float>> ReadJobDelta(const std::string& folder);

std::string ProgressLine(const JobProgress& progress);
// Nothing for a line that is none.
absl::StatusOr<JobProgress> ParseProgressLine(const std::string& line);

}  // namespace choir::node

#endif  // CHOIR_NODE_WORKER_JOB_H_
