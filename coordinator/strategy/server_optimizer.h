#ifndef CHOIR_COORDINATOR_STRATEGY_SERVER_OPTIMIZER_H_
#define CHOIR_COORDINATOR_STRATEGY_SERVER_OPTIMIZER_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// How far the server follows the nodes' mean update: it is taken for a gradient, with its sign
// turned (Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2; momentum: Hsu et al.
// 2019). With D the mean update of a round and eta the server's learning rate:
//   plain       x += eta D
//   momentum    m = beta1 m + D;                 x += eta m
//   FedAdagrad  v = v + D^2                      m = beta1 m + (1 - beta1) D;
//   FedYogi     v = v - (1-beta2) D^2 sign(v - D^2)     x += eta m / (sqrt(v) + tau)
//   FedAdam     v = beta2 v + (1-beta2) D^2
// m starts at 0 and v at tau^2. No bias correction, as in the paper.
namespace choir::coordinator {

enum class ServerOptimizerKind : uint8_t { kPlain, kMomentum, kFedAdagrad, kFedYogi, kFedAdam };

// "plain", "momentum", "fedadagrad", "fedyogi", "fedadam"; empty: plain. INVALID_ARGUMENT lists
// them.
absl::StatusOr<ServerOptimizerKind> ParseServerOptimizer(std::string_view name);

struct ServerOptimizerConfig {
  ServerOptimizerKind kind = ServerOptimizerKind::kPlain;
  double learning_rate = 1;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double tau = 1e-3;  // how adaptive: large steps for values below it are damped
};

// What the optimizer remembers between versions: for each contribution (strategies may alternate
// them) the moments, f32, of its length. `second` is empty for momentum.
struct ServerMoments {
  std::vector<float> first;
  std::vector<float> second;
  friend bool operator==(const ServerMoments&, const ServerMoments&) = default;
};
using ServerState = std::map<std::string, ServerMoments>;

// The update to apply, from the round's mean update of this contribution; moves `state` on. Plain
// keeps no state. DATA_LOSS if the state's moments have another length.
absl::StatusOr<std::vector<float>> ServerStep(const ServerOptimizerConfig& config,
                                              std::span<const float> mean,
                                              std::string_view contribution, ServerState& state);

// "CHOIRSRV", version (u32 1), number of entries (u32), and of each: length of the name (u32),
// name, lengths of both moments (u64), f32 values. Little-endian.
std::string SerializeServerState(const ServerState& state);
// DATA_LOSS: truncated, or a length that lies.
absl::StatusOr<ServerState> ParseServerState(std::string_view bytes);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_SERVER_OPTIMIZER_H_
