#include "engine/lora/lora_pattern.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/random.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

// No adapter is made as large as this: 16 GiB of f32, far more than any real one.
constexpr uint64_t kMaxParameters = uint64_t{1} << 32;
constexpr int64_t kMaxAxis = int64_t{1} << 31;

absl::StatusOr<int64_t> RankFor(const LoraTarget& target, const LoraConfig& config,
                                const LoraPattern& ranks) {
  const double rank = ranks.Find(target.name).value_or(config.rank);
  if (rank == std::floor(rank) && rank >= 1 && rank <= kMaxLoraRank) {
    return static_cast<int64_t>(rank);
  }
  return absl::InvalidArgumentError(fmt::format("{}: the rank {} is no whole number of 1 to {}",
                                                target.name, rank, kMaxLoraRank));
}

// The pair without its factors.
absl::StatusOr<LoraPair> PairFor(const LoraTarget& target, const LoraConfig& config,
                                 const LoraPattern& ranks, const LoraPattern& alphas) {
  if (target.rows < 1 || target.cols < 1 || target.rows > kMaxAxis || target.cols > kMaxAxis) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {} x {}", target.name, target.rows, target.cols));
  }
  CHOIR_ASSIGN_OR_RETURN(const int64_t rank, RankFor(target, config, ranks));
  LoraConfig own = config;
  own.rank = static_cast<int>(rank);
  if (const std::optional<double> alpha = alphas.Find(target.name)) {
    own.alpha = static_cast<float>(*alpha);
  }
  CHOIR_RETURN_IF_ERROR(own.Validate());
  LoraPair pair{target.name, target.rows, target.cols, rank, {}, {}};
  if (own.AdapterAlpha() != config.AdapterAlpha()) pair.alpha = own.AdapterAlpha();
  return pair;
}

}  // namespace

bool LoraPattern::Entry::Matches(const LoraSite& site) const {
  return block.value_or(site.block) == site.block && module.value_or(site.module) == site.module;
}

absl::StatusOr<LoraPattern::Entry> LoraPattern::ParseEntry(std::string_view text) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const std::string_view number =
      equals == std::string_view::npos ? std::string_view() : text.substr(equals + 1);
  Entry entry;
  entry.text = std::string(text);
  const auto parsed = std::from_chars(number.data(), number.data() + number.size(), entry.value);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == number.data() + number.size();
  // Completed to a tensor's name, each form is read by the rules of those.
  const bool has_block = name.starts_with("blk.");
  const bool has_module = !has_block || name.find('.', 4) != std::string_view::npos;
  std::optional<LoraSite> site = ParseLoraSite(
      fmt::format("{}{}{}.weight", has_block ? "" : "blk.0.", name, has_module ? "" : ".attn_q"));
  if (!has_block && !site.has_value()) site = ParseLoraSite(fmt::format("{}.weight", name));
  if (!is_number || !std::isfinite(entry.value) || entry.value <= 0 || !site.has_value()) {
    return absl::InvalidArgumentError(
        fmt::format("'{}' is not MODULE=VALUE, blk.N=VALUE or blk.N.MODULE=VALUE with a positive "
                    "value",
                    text));
  }
  if (has_block) entry.block = site->block;
  if (has_module) entry.module = site->module;
  return entry;
}

absl::StatusOr<LoraPattern> LoraPattern::Parse(std::string_view text) {
  LoraPattern pattern;
  for (bool more = !text.empty(); more;) {
    const size_t comma = text.find(',');
    CHOIR_ASSIGN_OR_RETURN(Entry entry, ParseEntry(text.substr(0, comma)));
    pattern.entries_.push_back(std::move(entry));
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
  }
  return pattern;
}

std::optional<double> LoraPattern::Find(std::string_view tensor_name) const {
  const std::optional<LoraSite> site = ParseLoraSite(tensor_name);
  if (!site.has_value()) return std::nullopt;
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.Matches(*site); });
  if (found == entries_.end()) return std::nullopt;
  return found->value;
}

absl::Status LoraPattern::CheckUsed(std::span<const LoraTarget> targets) const {
  for (const Entry& entry : entries_) {
    const bool used = std::any_of(targets.begin(), targets.end(), [&](const LoraTarget& target) {
      const std::optional<LoraSite> site = ParseLoraSite(target.name);
      return site.has_value() && entry.Matches(*site);
    });
    if (!used) {
      return absl::InvalidArgumentError(
          fmt::format("the pattern {} matches none of the adapted layers", entry.text));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Adapter> InitAdapter(const LoraConfig& config, const LoraPattern& ranks,
                                    const LoraPattern& alphas, std::span<const LoraTarget> targets,
                                    std::string_view architecture, uint64_t seed) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<LoraTarget> chosen, AdapterTargetsFor(config, targets));
  CHOIR_RETURN_IF_ERROR(ranks.CheckUsed(chosen));
  CHOIR_RETURN_IF_ERROR(alphas.CheckUsed(chosen));
  Adapter adapter;
  adapter.alpha = config.AdapterAlpha();
  adapter.architecture = std::string(architecture);
  uint64_t parameters = 0;
  for (const LoraTarget& target : chosen) {
    CHOIR_ASSIGN_OR_RETURN(LoraPair pair, PairFor(target, config, ranks, alphas));
    parameters += static_cast<uint64_t>(pair.rank) * static_cast<uint64_t>(pair.rows + pair.cols);
    if (parameters >= kMaxParameters) {
      return absl::InvalidArgumentError(fmt::format(
          "an adapter of rank {} would have {} parameters or more", pair.rank, kMaxParameters));
    }
    adapter.pairs.push_back(std::move(pair));
  }
  SeededRng rng(seed);
  for (LoraPair& pair : adapter.pairs) {
    pair.a.resize(static_cast<size_t>(pair.rank * pair.cols));
    pair.b.assign(static_cast<size_t>(pair.rank * pair.rows), 0.0f);
    const double bound = 1.0 / std::sqrt(static_cast<double>(pair.cols));
    for (float& v : pair.a) v = static_cast<float>((2.0 * rng.NextUnit() - 1.0) * bound);
  }
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
  return adapter;
}

}  // namespace choir::engine
