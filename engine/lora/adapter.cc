#include "engine/lora/adapter.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/lora_pattern.h"

namespace choir::engine {
namespace {

constexpr int64_t kMaxAxis = int64_t{1} << 31;

absl::Status CheckPair(const LoraPair& pair) {
  if (pair.rank < 1 || pair.rank > kMaxLoraRank) {
    return absl::InvalidArgumentError(fmt::format("adapter: {} has rank {}, outside 1 to {}",
                                                  pair.name, pair.rank, kMaxLoraRank));
  }
  if (pair.rows < 1 || pair.cols < 1 || pair.rows > kMaxAxis || pair.cols > kMaxAxis) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} is {} x {}", pair.name, pair.rows, pair.cols));
  }
  if (!std::isfinite(pair.alpha)) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} has alpha {}", pair.name, pair.alpha));
  }
  if (pair.a.size() != static_cast<uint64_t>(pair.rank * pair.cols) ||
      pair.b.size() != static_cast<uint64_t>(pair.rank * pair.rows)) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} ({} x {}, rank {}) has {} elements in A and {} in B", pair.name,
                    pair.rows, pair.cols, pair.rank, pair.a.size(), pair.b.size()));
  }
  return absl::OkStatus();
}

absl::Status ShapesDiffer() {
  return absl::InvalidArgumentError("the two adapters have different targets, shapes or ranks");
}

// The reason, where it is known.
std::string WhyMissing(const std::optional<LoraSite>& site) {
  if (!site.has_value() || site->block != LoraSite::kNoBlock) return "";
  return fmt::format(" ({})", kTiedOutputReason);
}

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

bool AllZero(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return v == 0.0f; });
}

}  // namespace

bool CanonicalLess(std::string_view x, std::string_view y) {
  const auto key = [](std::string_view name) {
    const std::optional<LoraSite> site = ParseLoraSite(name);
    return std::make_tuple(!site.has_value(), site.value_or(LoraSite{}), name);
  };
  return key(x) < key(y);
}

uint64_t Adapter::ParameterCount() const {
  uint64_t count = 0;
  for (const LoraPair& pair : pairs) count += pair.a.size() + pair.b.size();
  return count;
}

const LoraPair* Adapter::Find(std::string_view name) const {
  for (const LoraPair& pair : pairs) {
    if (pair.name == name) return &pair;
  }
  return nullptr;
}

bool SameShape(const Adapter& x, const Adapter& y) {
  return std::equal(x.pairs.begin(), x.pairs.end(), y.pairs.begin(), y.pairs.end(),
                    [](const LoraPair& p, const LoraPair& q) {
                      return p.name == q.name && p.rows == q.rows && p.cols == q.cols &&
                             p.rank == q.rank;
                    });
}

absl::Status ValidateAdapter(const Adapter& adapter) {
  if (adapter.pairs.empty()) return absl::InvalidArgumentError("adapter: it has no tensors");
  if (!std::isfinite(adapter.alpha)) {
    return absl::InvalidArgumentError(fmt::format("adapter: alpha is {}", adapter.alpha));
  }
  for (size_t i = 0; i < adapter.pairs.size(); ++i) {
    CHOIR_RETURN_IF_ERROR(CheckPair(adapter.pairs[i]));
    if (i > 0 && !CanonicalLess(adapter.pairs[i - 1].name, adapter.pairs[i].name)) {
      return absl::InvalidArgumentError(fmt::format("adapter: {} stands twice or after {}",
                                                    adapter.pairs[i].name,
                                                    adapter.pairs[i - 1].name));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAdapterFits(const Adapter& adapter, std::span<const LoraTarget> targets) {
  for (const LoraPair& pair : adapter.pairs) {
    const auto target = std::find_if(targets.begin(), targets.end(),
                                     [&](const LoraTarget& t) { return t.name == pair.name; });
    if (target == targets.end()) {
      return absl::NotFoundError(
          fmt::format("the base model has no tensor {} that an adapter could change{}", pair.name,
                      WhyMissing(ParseLoraSite(pair.name))));
    }
    if (target->rows != pair.rows || target->cols != pair.cols) {
      return absl::InvalidArgumentError(
          fmt::format("{}: the adapter is for {} x {}, the base model has {} x {}", pair.name,
                      pair.rows, pair.cols, target->rows, target->cols));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<LoraTarget>> AdapterTargetsFor(const LoraConfig& config,
                                                          std::span<const LoraTarget> targets) {
  CHOIR_RETURN_IF_ERROR(config.Validate());
  LoraModuleSet found;
  std::vector<LoraTarget> out;
  for (const LoraTarget& target : targets) {
    const std::optional<LoraSite> site = ParseLoraSite(target.name);
    if (!site.has_value() || !config.modules.Contains(site->module)) continue;
    found.Insert(site->module);
    out.push_back(target);
  }
  if (found != config.modules) {
    const bool asked_vocabulary = config.modules.Contains(LoraModule::kOutput) ||
                                  config.modules.Contains(LoraModule::kTokenEmbd);
    const bool has_vocabulary =
        found.Contains(LoraModule::kOutput) || found.Contains(LoraModule::kTokenEmbd);
    return absl::InvalidArgumentError(fmt::format(
        "of {} the base model has only these LoRA modules: {}{}", config.modules.ToString(),
        found.empty() ? "none" : found.ToString(),
        asked_vocabulary && !has_vocabulary ? fmt::format(" ({})", kTiedOutputReason) : ""));
  }
  std::sort(out.begin(), out.end(),
            [](const LoraTarget& x, const LoraTarget& y) { return CanonicalLess(x.name, y.name); });
  return out;
}

absl::StatusOr<Adapter> InitAdapter(const LoraConfig& config, std::span<const LoraTarget> targets,
                                    std::string_view architecture, uint64_t seed) {
  return InitAdapter(config, LoraPattern(), LoraPattern(), targets, architecture, seed);
}

std::vector<float> Flatten(const Adapter& adapter) {
  std::vector<float> out;
  out.reserve(adapter.ParameterCount());
  for (const LoraPair& pair : adapter.pairs) {
    out.insert(out.end(), pair.a.begin(), pair.a.end());
    out.insert(out.end(), pair.b.begin(), pair.b.end());
  }
  return out;
}

absl::Status Unflatten(std::span<const float> values, Adapter& adapter) {
  uint64_t count = 0;
  for (const LoraPair& pair : adapter.pairs) {
    count += static_cast<uint64_t>(pair.rank * (pair.rows + pair.cols));
  }
  if (values.size() != count) {
    return absl::InvalidArgumentError(
        fmt::format("{} values for an adapter of {} parameters", values.size(), count));
  }
  for (LoraPair& pair : adapter.pairs) {
    for (const auto& [factor, extent] :
         {std::pair(&pair.a, pair.cols), std::pair(&pair.b, pair.rows)}) {
      const auto size = static_cast<size_t>(pair.rank * extent);
      factor->assign(values.begin(), values.begin() + static_cast<ptrdiff_t>(size));
      values = values.subspan(size);
    }
  }
  return absl::OkStatus();
}

Adapter ShapeOf(const Adapter& adapter) {
  Adapter shape;
  shape.alpha = adapter.alpha;
  shape.architecture = adapter.architecture;
  shape.dropout = adapter.dropout;
  shape.base_model_sha256 = adapter.base_model_sha256;
  for (const LoraPair& pair : adapter.pairs) {
    shape.pairs.push_back({.name = pair.name,
                           .rows = pair.rows,
                           .cols = pair.cols,
                           .rank = pair.rank,
                           .a = {},
                           .b = {},
                           .alpha = pair.alpha});
  }
  return shape;
}

absl::StatusOr<Adapter> Subtract(const Adapter& x, const Adapter& y) {
  Adapter out = x;
  CHOIR_RETURN_IF_ERROR(AddScaled(out, -1.0f, y));
  return out;
}

absl::Status AddScaled(Adapter& x, float factor, const Adapter& y) {
  if (!SameShape(x, y)) return ShapesDiffer();
  const auto add = [factor](std::vector<float>& to, const std::vector<float>& from) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += factor * from[i];
  };
  for (size_t i = 0; i < x.pairs.size(); ++i) {
    add(x.pairs[i].a, y.pairs[i].a);
    add(x.pairs[i].b, y.pairs[i].b);
  }
  return absl::OkStatus();
}

absl::Status CheckFinite(const Adapter& adapter) {
  for (const LoraPair& pair : adapter.pairs) {
    if (!AllFinite(pair.a) || !AllFinite(pair.b)) {
      return absl::InvalidArgumentError(
          fmt::format("adapter: {} holds a NaN or an infinity", pair.name));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNotDegenerate(const Adapter& adapter) {
  const bool all_a_zero = std::all_of(adapter.pairs.begin(), adapter.pairs.end(),
                                      [](const LoraPair& pair) { return AllZero(pair.a); });
  if (!all_a_zero) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "adapter: every A is zero, so that no gradient can reach B; refusing to train from it");
}

}  // namespace choir::engine
