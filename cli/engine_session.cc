#include "cli/engine_session.h"

#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/failure.h"
#include "engine/backend/registry.h"
#include "engine/lora/merge.h"
#include "engine/lora/peft_adapter.h"
#include "engine/model/peft_base.h"

namespace choir::cli {

absl::StatusOr<std::unique_ptr<engine::Backend>> OpenBackend(const DeviceOptions& options) {
  engine::BackendOptions backend_options;
  backend_options.num_threads = options.threads;
  backend_options.device_index = options.device;
  backend_options.validation = options.validation;
  backend_options.profile = options.profile;
  backend_options.pipeline_cache_dir = PipelineCacheDir();
  absl::StatusOr<std::unique_ptr<engine::Backend>> backend =
      engine::CreateBackend(options.backend, backend_options);
  if (!backend.ok()) {
    const absl::Status status = backend.status();
    const absl::StatusCode code =
        absl::IsNotFound(status) ? absl::StatusCode::kUnavailable : status.code();
    return WithHint(absl::Status(code, status.message()),
                    "`choir devices` lists what this machine has");
  }
  return backend;
}

absl::StatusOr<std::unique_ptr<engine::Model>> OpenModel(const std::string& path) {
  absl::StatusOr<engine::Model> model = engine::Model::Open(path);
  if (!model.ok()) return BadInput("model", path, model.status());
  return std::make_unique<engine::Model>(*std::move(model));
}

absl::StatusOr<engine::Adapter> ReadAdapterFor(const engine::Model& model,
                                               const std::string& path) {
  absl::StatusOr<engine::Adapter> read = engine::ReadAdapter(path, engine::PeftBaseOf(model));
  if (!read.ok()) return BadInput("adapter", path, read.status());
  engine::Adapter adapter = *std::move(read);
  const std::vector<engine::LoraTarget> targets = model.LoraTargets();
  absl::Status fits = CheckAdapterFits(adapter, targets);
  if (fits.ok() && adapter.architecture != model.spec().architecture) {
    fits = absl::InvalidArgumentError(fmt::format("made for architecture {}, the model is a {}",
                                                  adapter.architecture, model.spec().architecture));
  }
  if (!fits.ok()) {
    return BadInput("adapter", path, fits, "an adapter works with the base model it was made for");
  }
  if (const absl::Status finite = CheckFinite(adapter); !finite.ok()) {
    return BadInput("adapter", path, finite);
  }
  return adapter;
}

absl::StatusOr<engine::Adapter> ReadAdaptersFor(const engine::Model& model,
                                                const std::vector<std::string>& arguments) {
  std::vector<engine::WeightedAdapter> adapters;
  for (const std::string& text : arguments) {
    const AdapterArgument argument = ParseAdapterArgument(text);
    CHOIR_ASSIGN_OR_RETURN(engine::Adapter adapter, ReadAdapterFor(model, argument.path));
    adapters.push_back({std::move(adapter), argument.weight});
  }
  absl::StatusOr<engine::Adapter> stacked = engine::StackAdapters(adapters);
  if (!stacked.ok()) return UsageError(fmt::format("--adapter: {}", MessageOf(stacked.status())));
  return stacked;
}

absl::StatusOr<EngineSession> OpenSession(const DeviceOptions& device,
                                          const std::string& model_path,
                                          const std::string& adapter_path) {
  std::vector<std::string> adapters;
  if (!adapter_path.empty()) adapters.push_back(adapter_path);
  return OpenSession(device, model_path, adapters);
}

absl::StatusOr<EngineSession> OpenSession(const DeviceOptions& device,
                                          const std::string& model_path,
                                          const std::vector<std::string>& adapters) {
  EngineSession session;
  CHOIR_ASSIGN_OR_RETURN(session.model, OpenModel(model_path));
  CHOIR_ASSIGN_OR_RETURN(session.backend, OpenBackend(device));
  CHOIR_ASSIGN_OR_RETURN(engine::DeviceModel weights,
                         engine::DeviceModel::Load(*session.backend, *session.model));
  session.weights = std::make_unique<engine::DeviceModel>(std::move(weights));
  if (adapters.empty()) return session;
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, ReadAdaptersFor(*session.model, adapters));
  CHOIR_ASSIGN_OR_RETURN(
      engine::DeviceAdapter on_device,
      engine::DeviceAdapter::Create(*session.backend, engine::LayoutOf(adapter), false));
  CHOIR_RETURN_IF_ERROR(
      on_device.Write(engine::AdapterPart::kParameters, engine::Flatten(adapter)));
  session.adapter = std::make_unique<engine::DeviceAdapter>(std::move(on_device));
  return session;
}

}  // namespace choir::cli
