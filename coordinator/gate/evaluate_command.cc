#include "coordinator/gate/evaluate_command.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "coordinator/gate/evaluation_files.h"
#include "engine/backend/registry.h"
#include "engine/chat/chat_template.h"
#include "engine/infer/evaluator.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"
#include "engine/train/compute_choice.h"
#include "engine/train/training_data.h"

namespace choir::coordinator {
namespace {

constexpr int kNiceness = 10;  // nodes that wait for answers come first

absl::StatusOr<engine::TrainingData> LoadHeldOut(const EvaluationJob& job,
                                                 const engine::Model& model) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<engine::Example> examples,
                         engine::ReadExamples(job.data_path, {}));
  engine::TrainingDataOptions options;
  CHOIR_ASSIGN_OR_RETURN(options.packing, engine::ParsePacking(job.packing));
  CHOIR_ASSIGN_OR_RETURN(options.train_on, engine::ParseTrainOn(job.train_on));
  options.context_tokens = job.context_tokens;
  options.shuffle = false;
  options.keep_tail = true;
  options.chat_formatter = engine::MakeChatFormatter(model.file(), model.tokenizer());
  return engine::PrepareTrainingData(examples, model.tokenizer(), options);
}

absl::StatusOr<engine::Compute> ComputeOf(const std::string& name, const engine::Model& model) {
  engine::Compute compute = engine::Compute::kAuto;
  if (name == "f32") compute = engine::Compute::kF32;
  if (name == "bf16") compute = engine::Compute::kBf16;
  return engine::ChooseCompute(compute, model.spec());
}

}  // namespace

absl::StatusOr<double> EvaluateHeldOut(const EvaluationJob& job) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Model model, engine::Model::Open(job.model_path));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, engine::ReadGgufAdapter(job.adapter_path));
  CHOIR_RETURN_IF_ERROR(engine::CheckAdapterFits(adapter, model.LoraTargets()));
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data, LoadHeldOut(job, model));
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Backend> backend,
                         engine::CreateBackend("cpu", {}));
  CHOIR_ASSIGN_OR_RETURN(const engine::DeviceModel weights,
                         engine::DeviceModel::Load(*backend, model));
  CHOIR_ASSIGN_OR_RETURN(engine::DeviceAdapter on_device,
                         engine::DeviceAdapter::Create(*backend, engine::LayoutOf(adapter), false));
  CHOIR_RETURN_IF_ERROR(
      on_device.Write(engine::AdapterPart::kParameters, engine::Flatten(adapter)));
  CHOIR_ASSIGN_OR_RETURN(const engine::Compute compute, ComputeOf(job.compute, model));
  CHOIR_ASSIGN_OR_RETURN(
      engine::Evaluator evaluator,
      engine::Evaluator::Create(model, *backend, weights, &on_device, job.context_tokens, compute));
  CHOIR_ASSIGN_OR_RETURN(
      const engine::Evaluation evaluation,
      evaluator.Evaluate(std::move(data.packer), [](uint64_t, uint64_t) { return true; }));
  return evaluation.mean_nll;
}

int RunEvaluateCommand(const std::string& folder) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setpriority(PRIO_PROCESS, 0, kNiceness);
  const auto evaluate = [&folder]() -> absl::Status {
    CHOIR_ASSIGN_OR_RETURN(const EvaluationJob job, ReadEvaluationJob(folder));
    CHOIR_ASSIGN_OR_RETURN(const double mean_nll, EvaluateHeldOut(job));
    return WriteEvaluationResult(folder, mean_nll);
  };
  const absl::Status status = evaluate();
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", std::string(status.message()));
  return 1;
}

}  // namespace choir::coordinator
