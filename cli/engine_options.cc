#include "cli/engine_options.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"

namespace choir::cli {

void AddModelOption(CLI::App& app, std::string& path) {
  app.add_option("--model", path, "Base model (GGUF)")->required()->type_name("FILE");
}

CLI::Option* AddAdapterOption(CLI::App& app, std::string& path) {
  return app.add_option("--adapter", path, "LoRA adapter (GGUF file or PEFT folder)")
      ->type_name("PATH");
}

CLI::Option* AddAdaptersOption(CLI::App& app, std::vector<std::string>& arguments) {
  return app
      .add_option("--adapter", arguments,
                  "LoRA adapter (GGUF file or PEFT folder), PATH or PATH=WEIGHT; several add up")
      ->allow_extra_args(false)
      ->type_name("PATH");
}

AdapterArgument ParseAdapterArgument(const std::string& text) {
  const size_t equals = text.rfind('=');
  std::error_code error;
  if (equals == std::string::npos || std::filesystem::exists(text, error)) return {text, 1.0f};
  const char* const end = text.data() + text.size();
  float weight = 1.0f;
  const auto parsed = std::from_chars(text.data() + equals + 1, end, weight);
  if (parsed.ec != std::errc() || parsed.ptr != end || !std::isfinite(weight)) return {text, 1.0f};
  return {text.substr(0, equals), weight};
}

absl::StatusOr<engine::GgufFile> OpenModelFile(const std::string& path) {
  absl::StatusOr<engine::GgufFile> file = engine::GgufFile::Open(path);
  if (!file.ok()) return BadInput("model", path, file.status());
  return file;
}

void AddDeviceOptions(CLI::App& app, DeviceOptions& options) {
  app.add_option("--backend", options.backend, "auto, cpu or vulkan")
      ->check(OneOf({"auto", "cpu", "vulkan"}))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Device");
  app.add_option("--compute", options.compute,
                 "Products in f32 or as exact as bf16; auto: bf16 (a GPU: fp16 or integers, if "
                 "faster) where the device has it and the model is not tiny")
      ->check(OneOf({"auto", "f32", "bf16"}))
      ->type_name("KIND")
      ->capture_default_str()
      ->group("Device");
  app.add_option("--threads", options.threads, "CPU threads; 0: one a core")
      ->check(CLI::Range(0, 1024).description(""))
      ->type_name("N")
      ->group("Device");
  app.add_option("--device", options.device, "Vulkan device by number (`choir devices`)")
      ->check(CLI::Range(0, 63).description(""))
      ->type_name("N")
      ->group("Device");
  app.add_flag("--vulkan-validation", options.validation,
               "Fail on any message of the Vulkan validation layers")
      ->group("Device");
}

std::string PipelineCacheDir() {
  if (const char* set = std::getenv("XDG_CACHE_HOME"); set != nullptr && *set == '/') {
    return std::string(set) + "/choir";
  }
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.cache/choir" : std::string();
}

engine::Compute ComputeOf(const DeviceOptions& options) {
  if (options.compute == "f32") return engine::Compute::kF32;
  if (options.compute == "bf16") return engine::Compute::kBf16;
  return engine::Compute::kAuto;
}

void AddKvCacheOption(CLI::App& app, std::string& name) {
  app.add_option("--kv-cache", name,
                 "How keys and values of earlier tokens are kept: f32 (exact), f16 (half the "
                 "memory), q8_0 (about a quarter, slightly less exact)")
      ->check(OneOf({"f32", "f16", "q8_0"}))
      ->type_name("TYPE")
      ->capture_default_str()
      ->group("Device");
}

absl::StatusOr<engine::KvCacheType> KvCacheOf(const std::string& name,
                                              const engine::ModelSpec& spec) {
  CHOIR_ASSIGN_OR_RETURN(const engine::KvCacheType type, engine::ParseKvCacheType(name));
  const auto bytes = engine::KvCacheBytes(spec, 1, type);
  if (!bytes.ok())
    return UsageError(std::string(bytes.status().message()), "use --kv-cache f16 or f32");
  return type;
}

absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text, int64_t vocabulary) {
  std::vector<int32_t> ids;
  while (true) {
    const std::string_view word = text.substr(0, text.find(','));
    int32_t id = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size()) {
      return UsageError(fmt::format("--ids: '{}' is not a token id", word),
                        "give ids separated by commas, as in --ids 1,403,407");
    }
    if (id < 0 || id >= vocabulary) {
      return UsageError(
          fmt::format("--ids: {} is outside the vocabulary (0..{})", id, vocabulary - 1));
    }
    ids.push_back(id);
    if (word.size() == text.size()) return ids;
    text.remove_prefix(word.size() + 1);
  }
}

}  // namespace choir::cli
