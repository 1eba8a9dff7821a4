#include "coordinator/strategy/server_optimizer.h"

#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::coordinator {
namespace {

static_assert(std::endian::native == std::endian::little, "the state is little-endian");

constexpr std::string_view kMagic = "CHOIRSRV";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMaxEntries = 16;
constexpr uint32_t kMaxNameBytes = 64;

struct KindName {
  const char* name;
  ServerOptimizerKind kind;
};
constexpr KindName kKinds[] = {
    {"plain", ServerOptimizerKind::kPlain},           {"momentum", ServerOptimizerKind::kMomentum},
    {"fedadagrad", ServerOptimizerKind::kFedAdagrad}, {"fedyogi", ServerOptimizerKind::kFedYogi},
    {"fedadam", ServerOptimizerKind::kFedAdam},
};

double SecondMoment(const ServerOptimizerConfig& config, double v, double squared) {
  switch (config.kind) {
    case ServerOptimizerKind::kFedAdagrad:
      return v + squared;
    case ServerOptimizerKind::kFedYogi: {
      const double sign = v > squared ? 1.0 : v < squared ? -1.0 : 0.0;
      return v - (1.0 - config.beta2) * squared * sign;
    }
    default:
      return config.beta2 * v + (1.0 - config.beta2) * squared;
  }
}

absl::StatusOr<ServerMoments*> MomentsFor(const ServerOptimizerConfig& config, size_t length,
                                          std::string_view contribution, ServerState& state) {
  const bool adaptive = config.kind != ServerOptimizerKind::kMomentum;
  const auto [it, is_new] = state.try_emplace(std::string(contribution));
  ServerMoments& moments = it->second;
  if (is_new) {
    moments.first.assign(length, 0.0f);
    if (adaptive) moments.second.assign(length, static_cast<float>(config.tau * config.tau));
  }
  if (moments.first.size() != length || moments.second.size() != (adaptive ? length : 0)) {
    return absl::DataLossError(
        fmt::format("the server optimizer's state has {} and {} values for \"{}\", the update {}",
                    moments.first.size(), moments.second.size(), it->first, length));
  }
  return &moments;
}

template <typename T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void PutValues(std::string& out, const std::vector<float>& values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

// Takes pieces off the front; sizes are checked without overflow.
class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}

  template <typename T>
  absl::StatusOr<T> Number() {
    CHOIR_ASSIGN_OR_RETURN(const std::string_view bytes, Bytes(sizeof(T)));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  absl::StatusOr<std::string_view> Bytes(uint64_t size) {
    if (size > rest_.size()) {
      return absl::DataLossError(
          fmt::format("the server optimizer's state ends {} bytes early", size - rest_.size()));
    }
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  absl::StatusOr<std::vector<float>> Values(uint64_t count) {
    if (count > rest_.size() / sizeof(float)) {
      return absl::DataLossError(fmt::format(
          "the server optimizer's state names {} values and has {} bytes", count, rest_.size()));
    }
    CHOIR_ASSIGN_OR_RETURN(const std::string_view bytes, Bytes(count * sizeof(float)));
    std::vector<float> values(count);
    if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

absl::Status ParseEntry(Reader& reader, ServerState& state) {
  CHOIR_ASSIGN_OR_RETURN(const auto name_bytes, reader.Number<uint32_t>());
  if (name_bytes > kMaxNameBytes) {
    return absl::DataLossError(
        fmt::format("the server optimizer's state has a name of {} bytes", name_bytes));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string_view name, reader.Bytes(name_bytes));
  CHOIR_ASSIGN_OR_RETURN(const auto first, reader.Number<uint64_t>());
  CHOIR_ASSIGN_OR_RETURN(const auto second, reader.Number<uint64_t>());
  ServerMoments moments;
  CHOIR_ASSIGN_OR_RETURN(moments.first, reader.Values(first));
  CHOIR_ASSIGN_OR_RETURN(moments.second, reader.Values(second));
  if (!state.emplace(std::string(name), std::move(moments)).second) {
    return absl::DataLossError("the server optimizer's state has an entry twice");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServerOptimizerKind> ParseServerOptimizer(std::string_view name) {
  if (name.empty()) return ServerOptimizerKind::kPlain;
  for (const KindName& entry : kKinds) {
    if (entry.name == name) return entry.kind;
  }
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no server optimizer: use plain, momentum, fedadagrad, fedyogi or "
                  "fedadam",
                  name));
}

absl::StatusOr<std::vector<float>> ServerStep(const ServerOptimizerConfig& config,
                                              std::span<const float> mean,
                                              std::string_view contribution, ServerState& state) {
  std::vector<float> update(mean.size());
  if (config.kind == ServerOptimizerKind::kPlain) {
    const auto rate = static_cast<float>(config.learning_rate);
    for (size_t i = 0; i < mean.size(); ++i) update[i] = rate * mean[i];
    return update;
  }
  CHOIR_ASSIGN_OR_RETURN(ServerMoments* const moments,
                         MomentsFor(config, mean.size(), contribution, state));
  const bool adaptive = !moments->second.empty();
  const double fresh = adaptive ? 1.0 - config.beta1 : 1.0;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double d = double{mean[i]};
    const double m = config.beta1 * double{moments->first[i]} + fresh * d;
    moments->first[i] = static_cast<float>(m);
    double step = m;
    if (adaptive) {
      const double v = SecondMoment(config, double{moments->second[i]}, d * d);
      moments->second[i] = static_cast<float>(v);
      step = m / (std::sqrt(v) + config.tau);
    }
    update[i] = static_cast<float>(config.learning_rate * step);
  }
  return update;
}

std::string SerializeServerState(const ServerState& state) {
  std::string out(kMagic);
  Put(out, kVersion);
  Put(out, static_cast<uint32_t>(state.size()));
  for (const auto& [name, moments] : state) {
    Put(out, static_cast<uint32_t>(name.size()));
    out += name;
    Put(out, uint64_t{moments.first.size()});
    Put(out, uint64_t{moments.second.size()});
    PutValues(out, moments.first);
    PutValues(out, moments.second);
  }
  return out;
}

absl::StatusOr<ServerState> ParseServerState(std::string_view bytes) {
  Reader reader(bytes);
  CHOIR_ASSIGN_OR_RETURN(const std::string_view magic, reader.Bytes(kMagic.size()));
  CHOIR_ASSIGN_OR_RETURN(const auto version, reader.Number<uint32_t>());
  CHOIR_ASSIGN_OR_RETURN(const auto entries, reader.Number<uint32_t>());
  if (magic != kMagic || version != kVersion || entries > kMaxEntries) {
    return absl::DataLossError("this is no state of a server optimizer that is known here");
  }
  ServerState state;
  for (uint32_t i = 0; i < entries; ++i) CHOIR_RETURN_IF_ERROR(ParseEntry(reader, state));
  if (!reader.empty()) {
    return absl::DataLossError("the server optimizer's state goes on after its end");
  }
  return state;
}

}  // namespace choir::coordinator
