// `choir devices`: what this machine can compute on.

#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/humane.h"
#include "engine/backend/registry.h"

namespace choir::cli {
namespace {

nlohmann::json ToJson(const engine::DeviceInfo& device, int64_t vulkan_index) {
  nlohmann::json json = {{"backend", device.backend},
                         {"name", device.name},
                         {"driver", device.driver},
                         {"memory_bytes", device.memory_bytes},
                         {"max_buffer_range_bytes", device.max_buffer_range_bytes},
                         {"is_software", device.is_software},
                         {"features", device.features},
                         {"ways", device.ways}};
  if (vulkan_index >= 0) json["device"] = vulkan_index;
  return json;
}

void Describe(const engine::DeviceInfo& device, int64_t vulkan_index, Output& output) {
  const std::string how =
      vulkan_index < 0 ? fmt::format("--backend {}", device.backend)
                       : fmt::format("--backend {} --device {}", device.backend, vulkan_index);
  output.Line(fmt::format("{}  ({})", output.Styled(Style::kBold, device.name), how));
  if (!device.driver.empty()) output.Line(fmt::format("  driver    {}", device.driver));
  output.Line(fmt::format("  memory    {}", HumaneBytes(device.memory_bytes)));
  if (device.max_buffer_range_bytes > 0) {
    output.Line(fmt::format("  binding   at most {}", HumaneBytes(device.max_buffer_range_bytes)));
  }
  if (!device.features.empty()) {
    output.Line(fmt::format("  features  {}", fmt::join(device.features, ", ")));
  }
  for (size_t i = 0; i < device.ways.size(); ++i) {
    output.Line(fmt::format("  {:<9} {}", i == 0 ? "products" : "", device.ways[i]));
  }
  if (device.is_software) {
    output.Line("  note      a GPU emulated by the CPU: for tests; --backend auto passes it over");
  }
}

absl::Status Run(Environment& environment) {
  const std::vector<engine::DeviceInfo> devices = engine::ListDevices(PipelineCacheDir());
  nlohmann::json list = nlohmann::json::array();
  int64_t vulkan_devices = 0;
  for (const engine::DeviceInfo& device : devices) {
    const int64_t index = device.backend == "vulkan" ? vulkan_devices++ : -1;
    list.push_back(ToJson(device, index));
    Describe(device, index, environment.output);
  }
  if (vulkan_devices == 0) {
    environment.output.Line("no Vulkan device (install a driver, or run on the CPU)");
  }
  environment.output.Json({{"devices", std::move(list)}});
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  app.footer(
      "\"products\" says how earlier runs found products with frozen weights to be fastest on a "
      "GPU\n"
      "where --compute is not f32, and which ways are never used there, and why.\n\n"
      "Examples:\n  choir devices\n  choir devices --json\n");
  return [](Environment& environment) { return Run(environment); };
}

}  // namespace

const Command kDevicesCommand = {"devices", "List the CPU and GPUs, and what they can do",
                                 &Declare};

}  // namespace choir::cli
