#include "coordinator/round/round_codec.h"

#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "coordinator/round/round_state.pb.h"

namespace choir::coordinator {
namespace {

constexpr uint32_t kFormat = 2;
constexpr uint32_t kFormatInOne = 1;
constexpr char kMemberKey = 'm';
constexpr char kCohortKey = 'c';
// A round of the largest federation has a tenth of it.
constexpr size_t kMaxBytes = size_t{1} << 30;
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

template <typename Message>
absl::Status Parse(std::string_view bytes, Message& message) {
  if (bytes.size() <= kMaxBytes &&
      message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::OkStatus();
  }
  return absl::DataLossError(fmt::format("stored round: {} bytes of it are damaged", bytes.size()));
}

RoundPart PartOf(const NodeId& id, const Member& member) {
  stored::Member to;
  to.set_state(static_cast<uint32_t>(member.state));
  to.set_lease_id(member.lease_id);
  to.set_lease_until_us(ToMicros(member.lease_until));
  to.set_since_us(ToMicros(member.since));
  to.set_steps_done(member.steps_done);
  to.set_steps_total(member.steps_total);
  to.set_cohort(member.cohort);
  to.set_stalled(member.stalled);
  return {kMemberKey + id, to.SerializeAsString()};
}

RoundPart PartOf(size_t index, const Cohort& cohort) {
  stored::Cohort to;
  to.set_state(static_cast<uint32_t>(cohort.state));
  for (const NodeId& node : cohort.members) to.add_members(node);
  to.set_contributors(cohort.contributors);
  to.set_reason(cohort.reason);
  return {fmt::format("{}{}", kCohortKey, index), to.SerializeAsString()};
}

absl::StatusOr<Member> DecodeMember(const stored::Member& from) {
  Member member;
  CHOIR_ASSIGN_OR_RETURN(member.state, Checked(from.state(), MemberState::kGone, "member state"));
  member.lease_id = from.lease_id();
  member.lease_until = FromMicros(from.lease_until_us());
  member.since = FromMicros(from.since_us());
  member.steps_done = from.steps_done();
  member.steps_total = from.steps_total();
  member.cohort = from.cohort();
  member.stalled = from.stalled();
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

absl::Status CheckMembersAndCohorts(const RoundState& state) {
  for (const auto& [id, member] : state.members) {
    if (member.state == MemberState::kInCohort && member.cohort >= state.cohorts.size()) {
      return absl::DataLossError(fmt::format("stored round: a member of cohort {}, of {} cohorts",
                                             member.cohort, state.cohorts.size()));
    }
  }
  for (const Cohort& cohort : state.cohorts) {
    for (const NodeId& node : cohort.members) {
      if (!state.members.contains(node)) {
        return absl::DataLossError("stored round: a cohort names a node that is no member");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ReadFromHead(const stored::Round& in, RoundState& state) {
  for (const stored::Cohort& from : in.cohorts()) {
    CHOIR_ASSIGN_OR_RETURN(Cohort cohort, DecodeCohort(from));
    state.cohorts.push_back(std::move(cohort));
  }
  for (const stored::Member& from : in.members()) {
    CHOIR_ASSIGN_OR_RETURN(state.members[from.node_id()], DecodeMember(from));
  }
  return absl::OkStatus();
}

absl::Status ReadParts(const stored::Round& in, std::span<const RoundPart> parts,
                       RoundState& state) {
  std::map<std::string, Cohort> cohorts;
  for (const RoundPart& part : parts) {
    if (part.key.starts_with(kMemberKey)) {
      stored::Member from;
      CHOIR_RETURN_IF_ERROR(Parse(part.value, from));
      CHOIR_ASSIGN_OR_RETURN(state.members[part.key.substr(1)], DecodeMember(from));
    } else {
      stored::Cohort from;
      CHOIR_RETURN_IF_ERROR(Parse(part.value, from));
      CHOIR_ASSIGN_OR_RETURN(cohorts[part.key], DecodeCohort(from));
    }
  }
  if (state.members.size() != in.num_members() || cohorts.size() != in.num_cohorts()) {
    return absl::DataLossError(fmt::format(
        "stored round: {} members and {} cohorts are there, not the {} and {} of its head",
        state.members.size(), cohorts.size(), in.num_members(), in.num_cohorts()));
  }
  for (size_t i = 0; i < cohorts.size(); ++i) {
    const auto cohort = cohorts.find(fmt::format("{}{}", kCohortKey, i));
    if (cohort == cohorts.end()) {
      return absl::DataLossError(fmt::format("stored round: cohort {} is missing", i));
    }
    state.cohorts.push_back(std::move(cohort->second));
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeRoundHead(const RoundState& state) {
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
  out.set_num_members(static_cast<uint32_t>(state.members.size()));
  out.set_num_cohorts(static_cast<uint32_t>(state.cohorts.size()));
  return out.SerializeAsString();
}

std::vector<RoundPart> ChangedParts(const RoundState& before, const RoundState& after) {
  std::vector<RoundPart> parts;
  for (const auto& [id, member] : after.members) {
    const auto was = before.members.find(id);
    if (was == before.members.end() || was->second != member) parts.push_back(PartOf(id, member));
  }
  for (size_t i = 0; i < after.cohorts.size(); ++i) {
    const bool same = i < before.cohorts.size() && before.cohorts[i] == after.cohorts[i];
    if (!same) parts.push_back(PartOf(i, after.cohorts[i]));
  }
  return parts;
}

std::vector<RoundPart> AllParts(const RoundState& state) {
  return ChangedParts({}, state);
}

absl::StatusOr<RoundState> DecodeRound(std::string_view head, std::span<const RoundPart> parts) {
  stored::Round in;
  CHOIR_RETURN_IF_ERROR(Parse(head, in));
  if (in.format() != kFormat && in.format() != kFormatInOne) {
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
  CHOIR_RETURN_IF_ERROR(in.format() == kFormatInOne ? ReadFromHead(in, state)
                                                    : ReadParts(in, parts, state));
  CHOIR_RETURN_IF_ERROR(CheckMembersAndCohorts(state));
  return state;
}

}  // namespace choir::coordinator
