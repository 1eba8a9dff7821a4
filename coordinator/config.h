#ifndef CHOIR_COORDINATOR_CONFIG_H_
#define CHOIR_COORDINATOR_CONFIG_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "coordinator/server_options.h"

namespace choir::coordinator {

// What `choir-coordinator --config FILE.toml` reads; see configs/coordinator.toml.
struct CoordinatorConfig {
  ServerOptions server;
  std::string log_level = "info";  // of spdlog: trace ... off
};

// INVALID_ARGUMENT with the line for what is no TOML, a key that there is not, or a wrong type.
// `origin` names the text in messages.
absl::StatusOr<CoordinatorConfig> ParseConfig(std::string_view text, std::string_view origin);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_CONFIG_H_
