#ifndef CHOIR_CLI_ENGINE_SESSION_H_
#define CHOIR_CLI_ENGINE_SESSION_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "cli/engine_options.h"
#include "engine/backend/backend.h"
#include "engine/lora/adapter.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"

namespace choir::cli {

// A model on a device, and perhaps an adapter: what most engine commands begin with. Members are in
// the order in which they depend on each other.
struct EngineSession {
  std::unique_ptr<engine::Backend> backend;
  std::unique_ptr<engine::Model> model;
  std::unique_ptr<engine::DeviceModel> weights;
  std::unique_ptr<engine::DeviceAdapter> adapter;  // null without one

  [[nodiscard]] int64_t vocabulary() const { return model->spec().vocabulary; }
};

// What is missing is UNAVAILABLE.
absl::StatusOr<std::unique_ptr<engine::Backend>> OpenBackend(const DeviceOptions& options);
absl::StatusOr<std::unique_ptr<engine::Model>> OpenModel(const std::string& path);
// Reads it and checks that it fits the model.
absl::StatusOr<engine::Adapter> ReadAdapterFor(const engine::Model& model, const std::string& path);
// The same for arguments of AddAdaptersOption: one adapter that does what all do together.
absl::StatusOr<engine::Adapter> ReadAdaptersFor(const engine::Model& model,
                                                const std::vector<std::string>& arguments);

// Opens the device, maps the model, uploads what the device needs. The adapter's path may be empty,
// or there may be no `adapters`.
absl::StatusOr<EngineSession> OpenSession(const DeviceOptions& device,
                                          const std::string& model_path,
                                          const std::string& adapter_path);
absl::StatusOr<EngineSession> OpenSession(const DeviceOptions& device,
                                          const std::string& model_path,
                                          const std::vector<std::string>& adapters);

}  // namespace choir::cli

#endif  // CHOIR_CLI_ENGINE_SESSION_H_
