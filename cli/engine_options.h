#ifndef CHOIR_CLI_ENGINE_OPTIONS_H_
#define CHOIR_CLI_ENGINE_OPTIONS_H_

// Options that several engine commands share, and what they open. Errors come with the exit code
// and hint that users see.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "CLI/CLI.hpp"
#include "engine/backend/backend.h"
#include "engine/gguf/gguf_file.h"
#include "engine/model/kv_cache.h"
#include "engine/model/model_spec.h"

namespace choir::cli {

// --model, required.
void AddModelOption(CLI::App& app, std::string& path);
// --adapter, one; required or not.
CLI::Option* AddAdapterOption(CLI::App& app, std::string& path);
// --adapter, several, each perhaps with a weight: for ReadAdaptersFor.
CLI::Option* AddAdaptersOption(CLI::App& app, std::vector<std::string>& arguments);

// "mine.gguf=0.5". A path that exists as a whole has no weight.
struct AdapterArgument {
  std::string path;
  float weight = 1.0f;
};
AdapterArgument ParseAdapterArgument(const std::string& text);

absl::StatusOr<engine::GgufFile> OpenModelFile(const std::string& path);

// --backend, --compute, --threads, --device.
struct DeviceOptions {
  std::string backend = "auto";
  std::string compute = "auto";
  int threads = 0;
  int device = -1;
  bool validation = false;
  bool profile = false;  // no option: `choir bench` sets it
};
// `options` holds the defaults.
void AddDeviceOptions(CLI::App& app, DeviceOptions& options);
// Where compiled shaders are kept, and what was found out about devices: the folder choir of
// $XDG_CACHE_HOME, else of ~/.cache; empty without a home.
std::string PipelineCacheDir();

engine::Compute ComputeOf(const DeviceOptions& options);

// --kv-cache; `name` holds the default.
void AddKvCacheOption(CLI::App& app, std::string& name);
inline constexpr const char* kDefaultKvCache = "f16";
// A usage error if this model has no cache of the type.
absl::StatusOr<engine::KvCacheType> KvCacheOf(const std::string& name,
                                              const engine::ModelSpec& spec);

// "1,403,407" as token ids. A usage error names the word that is no number, or an id outside the
// vocabulary.
absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text, int64_t vocabulary);

}  // namespace choir::cli

#endif  // CHOIR_CLI_ENGINE_OPTIONS_H_
