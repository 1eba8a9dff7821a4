#include "coordinator/service/norm_bound.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {
namespace {

// exp(-64) is 2^-92.
constexpr double kTail = 64;

// No node counts on fewer survivors for its part of the noise: the quorum of a graph of the nodes
// that contributed, and a larger one has a larger quorum.
uint32_t LeastAssured(const secagg::SessionConfig& session, uint32_t contributors) {
  uint32_t quorum = 2 * contributors / 3 + 1;
  if (session.graph == secagg::GraphKind::kRegular) {
    quorum = std::min(quorum, contributors - contributors * session.dropout_percent / 100);
  }
  return std::max({quorum, session.min_cohort, 1u});
}

absl::StatusOr<double> NoisedNorm(const secagg::SessionConfig& session, double nodes,
                                  uint32_t least_assured) {
  CHOIR_ASSIGN_OR_RETURN(const privacy::NoisePlan plan, secagg::PlanOf(secagg::CodecOf(session)));
  const double sigma = privacy::IsDistributed(plan.mechanism)
                           ? plan.LocalDeviation(least_assured) * std::sqrt(nodes)
                           : plan.deviation;
  const double values = nodes * plan.norm_bound;
  const auto d = static_cast<double>(session.delta_length);
  const double squared = values * values + 2 * values * sigma * std::sqrt(2 * kTail) +
                         sigma * sigma * (d + 2 * std::sqrt(d * kTail) + 2 * kTail);
  return std::sqrt(squared) / plan.scale;
}

}  // namespace

absl::StatusOr<double> LargestNorm(const secagg::SessionConfig& session, uint32_t contributors) {
  const auto nodes = static_cast<double>(contributors);
  // The mean was rounded to f32.
  constexpr double kRounded = 1 + 1e-6;
  if (session.privacy.mechanism != secagg::NoiseMechanism::kNone) {
    CHOIR_ASSIGN_OR_RETURN(const double norm,
                           NoisedNorm(session, nodes, LeastAssured(session, contributors)));
    return norm * kRounded;
  }
  const secagg::CodecParams codec = secagg::CodecOf(session);
  const double step = codec.range / static_cast<double>(secagg::MaxWord(codec));
  const double each = codec.clip_norm + std::sqrt(static_cast<double>(codec.delta_length)) * step;
  return nodes * each * kRounded;
}

absl::Status CheckNorm(const secagg::SessionConfig& session, const secagg::CohortSum& sum) {
  double squared = 0;
  for (const float value : sum.mean_delta) squared += double{value} * double{value};
  const double norm = std::sqrt(squared) * sum.total_weight;
  CHOIR_ASSIGN_OR_RETURN(const double bound, LargestNorm(session, sum.num_contributors));
  if (norm <= bound) return absl::OkStatus();
  return secagg::Refusal(
      secagg::AbortReason::kSumOutOfBound,
      fmt::format("the sum has norm {:.6g}; {} nodes, each clipped to {:.6g}, reach {:.6g} at most",
                  norm, sum.num_contributors, session.clip_norm, bound));
}

}  // namespace choir::coordinator
