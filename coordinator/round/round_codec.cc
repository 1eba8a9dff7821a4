#include "coordinator/round/round_codec.h"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "coordinator/round/round_state.pb.h"

namespace choir::coordinator {
namespace {

constexpr uint32_t kFormat = 1;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

int64_t ToMicros(absl::Time time) {
  return time == absl::InfiniteFuture() ? kNever : absl::ToUnixMicros(time);
}
absl::Time FromMicros(int64_t micros) {
  return micros == kNever ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

template <typename Enum>
absl::StatusOr<Enum> Checked(uint32_t value, Enum last, const char* what) {
  if (value == 0 || value > static_cast<uint32_t>(last)) {
    return absl::DataLossError(fmt::format("stored round: {} {} is unknown", what, value));
  }
  return static_cast<Enum>(value);
}

absl::StatusOr<Member> DecodeMember(const stored::Member& from, size_t num_cohorts) {
  Member member;
  CHOIR_ASSIGN_OR_RETURN(member.state, Checked(from.state(), MemberState::kGone, "member state"));
  member.lease_id = from.lease_id();
  member.lease_until = FromMicros(from.lease_until_us());
  member.since = FromMicros(from.since_us());
  member.steps_done = from.steps_done();
  member.steps_total = from.steps_total();
  member.cohort = from.cohort();
  member.stalled = from.stalled();
  if (member.state == MemberState::kInCohort && member.cohort >= num_cohorts) {
    return absl::DataLossError(fmt::format("stored round: a member of cohort {}, of {} cohorts",
                                           member.cohort, num_cohorts));
  }
  return member;
}

absl::StatusOr<Cohort> DecodeCohort(const stored::Cohort& from) {
  Cohort cohort;
  CHOIR_ASSIGN_OR_RETURN(cohort.state, Checked(from.state(), CohortState::kFailed, "cohort state"));
  cohort.members.assign(from.members().begin(), from.members().end());
  cohort.contributors = from.contributors();
  cohort.reason = from.reason();
  return cohort;
}

absl::Status CheckCohortMembers(const RoundState& state) {
  for (const Cohort& cohort : state.cohorts) {
    for (const NodeId& node : cohort.members) {
      if (!state.members.contains(node)) {
        return absl::DataLossError("stored round: a cohort names a node that is no member");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeRound(const RoundState& state) {
  stored::Round out;
  out.set_format(kFormat);
  out.set_round(state.round);
  out.set_phase(static_cast<uint32_t>(state.phase));
  out.set_started_us(ToMicros(state.started));
  out.set_ended_us(ToMicros(state.ended));
  out.set_first_selected_us(ToMicros(state.first_selected));
  out.set_cohort_deadline_us(ToMicros(state.cohort_deadline));
  out.set_dissolved(state.dissolved);
  out.set_reruns(state.reruns);
  out.set_reason(state.reason);
  out.set_reason_text(state.reason_text);
  for (const auto& [id, member] : state.members) {
    stored::Member& to = *out.add_members();
    to.set_node_id(id);
    to.set_state(static_cast<uint32_t>(member.state));
    to.set_lease_id(member.lease_id);
    to.set_lease_until_us(ToMicros(member.lease_until));
    to.set_since_us(ToMicros(member.since));
    to.set_steps_done(member.steps_done);
    to.set_steps_total(member.steps_total);
    to.set_cohort(member.cohort);
    to.set_stalled(member.stalled);
  }
  for (const Cohort& cohort : state.cohorts) {
    stored::Cohort& to = *out.add_cohorts();
    to.set_state(static_cast<uint32_t>(cohort.state));
    for (const NodeId& node : cohort.members) to.add_members(node);
    to.set_contributors(cohort.contributors);
    to.set_reason(cohort.reason);
  }
  return out.SerializeAsString();
}

absl::StatusOr<RoundState> DecodeRound(std::string_view bytes) {
  stored::Round in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("stored round: the bytes are damaged");
  }
  if (in.format() != kFormat) {
    return absl::FailedPreconditionError(
        fmt::format("stored round: format {}, this program reads {}; run the version that wrote it",
                    in.format(), kFormat));
  }
  RoundState state;
  state.round = in.round();
  CHOIR_ASSIGN_OR_RETURN(state.phase, Checked(in.phase(), Phase::kAbandoned, "phase"));
  state.started = FromMicros(in.started_us());
  state.ended = FromMicros(in.ended_us());
  state.first_selected = FromMicros(in.first_selected_us());
  state.cohort_deadline = FromMicros(in.cohort_deadline_us());
  state.dissolved = in.dissolved();
  state.reruns = in.reruns();
  state.reason = in.reason();
  state.reason_text = in.reason_text();
  for (const stored::Cohort& from : in.cohorts()) {
    CHOIR_ASSIGN_OR_RETURN(Cohort cohort, DecodeCohort(from));
    state.cohorts.push_back(std::move(cohort));
  }
  for (const stored::Member& from : in.members()) {
    CHOIR_ASSIGN_OR_RETURN(Member member, DecodeMember(from, state.cohorts.size()));
    state.members[from.node_id()] = std::move(member);
  }
  CHOIR_RETURN_IF_ERROR(CheckCohortMembers(state));
  return state;
}

}  // namespace choir::coordinator
