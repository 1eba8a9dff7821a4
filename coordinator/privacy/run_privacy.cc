#include "coordinator/privacy/run_privacy.h"

#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "coordinator/privacy/run_privacy.pb.h"
#include "privacy/adaptive_clip.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {
namespace {

constexpr uint32_t kFormat = 1;

}  // namespace

RunPrivacy::RunPrivacy(const v1::RunConfig& config)
    : spec_(config.privacy()),
      first_clip_norm_(double{config.aggregation().clip_norm()}),
      promises_(!spec_.mechanism().empty() && spec_.mechanism() != "none"),
      clip_norm_(first_clip_norm_) {}

RunPrivacy RunPrivacy::Fresh(const v1::RunConfig& config) {
  return RunPrivacy(config);
}

absl::StatusOr<RunPrivacy> RunPrivacy::Decode(std::string_view bytes, const v1::RunConfig& config) {
  RunPrivacy out(config);
  if (bytes.empty() && !out.promises_) return out;
  stored::RunPrivacy stored;
  const size_t orders = privacy::Orders().size();
  const bool parsed =
      !bytes.empty() && stored.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) &&
      stored.format() == kFormat && static_cast<size_t>(stored.spent_size()) == orders &&
      std::isfinite(stored.clip_norm()) && stored.clip_norm() > 0;
  if (!parsed) {
    return absl::DataLossError(
        fmt::format("run {}: the stored privacy budget is damaged; the run cannot go on without it",
                    config.run_id()));
  }
  size_t next = 0;
  out.spent_ =
      privacy::RdpCurve::Of([&](double) { return stored.spent(static_cast<int>(next++)); });
  out.debited_round_ = stored.debited_round();
  out.clip_norm_ = stored.clip_norm();
  for (const double value : out.spent_.values()) {
    if (std::isnan(value) || value < 0) {
      return absl::DataLossError(
          fmt::format("run {}: the stored privacy budget holds {}", config.run_id(), value));
    }
  }
  return out;
}

std::string RunPrivacy::Encode() const {
  stored::RunPrivacy stored;
  stored.set_format(kFormat);
  for (const double value : spent_.values()) stored.add_spent(value);
  stored.set_debited_round(debited_round_);
  stored.set_clip_norm(clip_norm_);
  return stored.SerializeAsString();
}

double RunPrivacy::Epsilon() const {
  return promises_ ? privacy::EpsilonOf(spent_, spec_.delta()) : 0;
}

absl::Status RunPrivacy::CheckRoom(uint64_t round, const privacy::RdpCurve& cost) const {
  if (!promises_ || spec_.budget_epsilon() == 0 || round == debited_round_) return absl::OkStatus();
  privacy::RdpCurve after = spent_;
  after += cost;
  const double epsilon = privacy::EpsilonOf(after, spec_.delta());
  if (epsilon <= spec_.budget_epsilon()) return absl::OkStatus();
  return secagg::Refusal(
      absl::StatusCode::kFailedPrecondition, secagg::AbortReason::kPrivacyBudgetExhausted,
      fmt::format("round {} would bring epsilon from {:.4f} to {:.4f} at delta {}, past the run's "
                  "budget of {}",
                  round, Epsilon(), epsilon, spec_.delta(), spec_.budget_epsilon()));
}

absl::Status RunPrivacy::Debit(uint64_t round, const privacy::RdpCurve& cost) {
  if (!promises_ || round == debited_round_) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(CheckRoom(round, cost));
  spent_ += cost;
  debited_round_ = round;
  return absl::OkStatus();
}

void RunPrivacy::AdaptClip(double unclipped) {
  if (!spec_.adaptive_clip()) return;
  clip_norm_ = privacy::NextClipNorm(clip_norm_, unclipped,
                                     {spec_.target_unclipped(), spec_.clip_learning_rate()},
                                     first_clip_norm_);
}

secagg::PrivacySpent RunPrivacy::Spent() const {
  secagg::PrivacySpent out;
  if (!promises_) return out;
  out.mechanism = privacy::MechanismFromName(spec_.mechanism()).value_or(privacy::Mechanism::kNone);
  out.noise_multiplier = spec_.noise_multiplier();
  out.clip_norm = clip_norm_;
  out.epsilon = Epsilon();
  out.delta = spec_.delta();
  return out;
}

}  // namespace choir::coordinator
