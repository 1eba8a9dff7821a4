#include "cli/run_view.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "cli/humane.h"

namespace choir::cli {
namespace {

bool RoundHasEnded(const v1::RoundStatus& round) {
  return round.phase() == "published" || round.phase() == "abandoned";
}

nlohmann::json RoundToJson(const v1::RoundStatus& round) {
  return {{"round", round.round()},
          {"phase", round.phase()},
          {"reason", round.reason()},
          {"reason_text", round.reason_text()},
          {"selected", round.selected()},
          {"training", round.training()},
          {"ready", round.ready()},
          {"in_cohort", round.in_cohort()},
          {"uploaded", round.uploaded()},
          {"contributors", round.contributors()},
          {"mean_train_loss", round.mean_train_loss()},
          {"trained_tokens", round.trained_tokens()},
          {"received_bytes", round.received_bytes()},
          {"started_unix_ms", round.started_unix_ms()},
          {"ended_unix_ms", round.ended_unix_ms()},
          {"session_stage", round.session_stage()},
          {"held_out_nll", round.has_held_out_nll() ? nlohmann::json(round.held_out_nll())
                                                    : nlohmann::json(nullptr)},
          {"left_out", std::vector<std::string>(round.left_out().begin(), round.left_out().end())},
          {"epsilon", round.epsilon()},
          {"clip_norm", round.clip_norm()}};
}

nlohmann::json PrivacyToJson(const v1::RunStatus& run) {
  const v1::PrivacySpec& spec = run.config().privacy();
  return {{"mechanism", spec.mechanism().empty() ? "none" : spec.mechanism()},
          {"noise_multiplier", spec.noise_multiplier()},
          {"delta", spec.delta()},
          {"budget_epsilon", spec.budget_epsilon()},
          {"adaptive_clip", spec.adaptive_clip()},
          {"epsilon", run.epsilon()}};
}

}  // namespace

nlohmann::json RunToJson(const v1::RunStatus& run) {
  nlohmann::json rounds = nlohmann::json::array();
  for (const v1::RoundStatus& round : run.rounds()) rounds.push_back(RoundToJson(round));
  return {{"run", run.run_id()},
          {"state", run.state()},
          {"reason", run.reason()},
          {"strategy", run.config().aggregation().strategy()},
          {"base_model_sha256", HexEncode(AsBytes(run.config().base_model_digest()))},
          {"num_values", run.config().num_values()},
          {"privacy", PrivacyToJson(run)},
          {"rounds_wanted", run.config().pacing().rounds()},
          {"rounds_published", run.rounds_published()},
          {"adapter_version", run.adapter_version()},
          {"adapter_sha256", HexEncode(AsBytes(run.adapter_digest()))},
          {"rounds", std::move(rounds)}};
}

std::string RoundLine(const v1::RoundStatus& round) {
  const std::string took =
      HumaneDuration(absl::Milliseconds(round.ended_unix_ms() - round.started_unix_ms()));
  if (round.phase() == "abandoned") {
    return fmt::format("abandoned after {}: {}{}", took, round.reason(),
                       round.reason_text().empty() ? "" : " (" + round.reason_text() + ")");
  }
  // Under differential privacy no loss and no token count leaves a node.
  std::string line =
      round.epsilon() > 0
          ? fmt::format("published: {} nodes, epsilon {:.4f} so far, {} received masked, {}",
                        round.contributors(), round.epsilon(), HumaneBytes(round.received_bytes()),
                        took)
          : fmt::format("published: {} nodes, train loss {:.3f}, {} tokens, {} received masked, {}",
                        round.contributors(), round.mean_train_loss(),
                        HumaneCount(static_cast<int64_t>(round.trained_tokens())),
                        HumaneBytes(round.received_bytes()), took);
  if (round.has_held_out_nll()) line += fmt::format(", held-out NLL {:.4f}", round.held_out_nll());
  for (const std::string& cohort : round.left_out()) line += fmt::format("; without {}", cohort);
  return line;
}

std::string PrivacyLine(const v1::RunStatus& run) {
  const v1::PrivacySpec& spec = run.config().privacy();
  if (spec.mechanism().empty() || spec.mechanism() == "none") {
    return "masked sums only; no differential privacy";
  }
  return fmt::format("{}, noise multiplier {}: epsilon {:.4f}{} at delta {}", spec.mechanism(),
                     spec.noise_multiplier(), run.epsilon(),
                     spec.budget_epsilon() > 0 ? fmt::format(" of {}", spec.budget_epsilon()) : "",
                     spec.delta());
}

std::string ActivityLine(const v1::RunStatus& run) {
  if (run.rounds_size() == 0) return "starting";
  const v1::RoundStatus& round = run.rounds(run.rounds_size() - 1);
  std::string text = fmt::format("round {}: {}", round.round(), round.phase());
  if (round.phase() == "selecting") text += fmt::format(", {} nodes so far", round.selected());
  if (round.phase() == "training") {
    text += fmt::format(", {} at work, {} ready", round.training(), round.ready());
  }
  if (round.phase() == "aggregating") {
    text += fmt::format(" ({}), {} of {} uploaded", round.session_stage(), round.uploaded(),
                        round.in_cohort());
  }
  return text;
}

void RunFollower::See(const v1::RunStatus& run) {
  output_.Json(RunToJson(run));
  for (const v1::RoundStatus& round : run.rounds()) {
    if (round.round() <= told_ || !RoundHasEnded(round)) continue;
    told_ = round.round();
    const bool good = round.phase() == "published";
    output_.Line(
        fmt::format("round {:>3}  {}", round.round(),
                    output_.Styled(good ? Style::kPlain : Style::kWarning, RoundLine(round))));
  }
}

bool HasEnded(const v1::RunStatus& run) {
  return !run.state().empty() && run.state() != "running";
}

absl::Status EndOf(const v1::RunStatus& run) {
  if (run.state() == "finished") return absl::OkStatus();
  return absl::AbortedError(fmt::format("run {} {}{}", run.run_id(), run.state(),
                                        run.reason().empty() ? "" : ": " + run.reason()));
}

}  // namespace choir::cli
