#include "cli/demo_report.h"

#include <cmath>

#include <fmt/format.h>

#include "cli/humane.h"
#include "cli/run_view.h"

namespace choir::cli {
namespace {

constexpr size_t kTextColumns = 78;

DemoNodeResult MeanOf(const std::vector<DemoNodeResult>& nodes) {
  DemoNodeResult mean;
  mean.name = "mean";
  for (const DemoNodeResult& node : nodes) {
    mean.nll_before += node.nll_before / static_cast<double>(nodes.size());
    mean.nll_after += node.nll_after / static_cast<double>(nodes.size());
  }
  return mean;
}

}  // namespace

absl::Status JudgeDemo(const std::vector<DemoNodeResult>& nodes) {
  std::string worse;
  for (const DemoNodeResult& node : nodes) {
    if (node.nll_after < node.nll_before) continue;  // NaN counts as worse
    worse += fmt::format("{}{} ({:.4f} before, {:.4f} after)", worse.empty() ? "" : ", ", node.name,
                         node.nll_before, node.nll_after);
  }
  if (worse.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("the held-out NLL did not fall on every node: {}", worse));
}

std::string DemoRoundLine(const v1::RoundStatus& round) {
  return fmt::format(
      "round {}  train loss {:.3f}  {} tokens  {} received, masked  {}", round.round(),
      round.mean_train_loss(), HumaneCount(static_cast<int64_t>(round.trained_tokens())),
      HumaneBytes(round.received_bytes()),
      HumaneDuration(absl::Milliseconds(round.ended_unix_ms() - round.started_unix_ms())));
}

std::string DemoSample(const DemoNodeResult& node) {
  const std::string heading = node.name + "  ";
  return fmt::format("{}\n{}\n{}", HangingParagraph(heading, node.prompt + " ...", kTextColumns),
                     HangingParagraph("  before  ", node.text_before, kTextColumns),
                     HangingParagraph("  after   ", node.text_after, kTextColumns));
}

std::string DemoTable(const std::vector<DemoNodeResult>& nodes) {
  TextTable table({"NODE", "NLL BEFORE", "AFTER", "CHANGE", "ROUNDS", "SENT, MASKED"});
  const auto add = [&table](const DemoNodeResult& node, bool sums) {
    table.AddRow({node.name, fmt::format("{:.3f}", node.nll_before),
                  fmt::format("{:.3f}", node.nll_after),
                  fmt::format("{:+.3f}", node.nll_after - node.nll_before),
                  sums ? fmt::format("{}", node.rounds_contributed) : "",
                  sums ? HumaneBytes(node.masked_bytes) : ""});
  };
  for (const DemoNodeResult& node : nodes) add(node, true);
  add(MeanOf(nodes), false);
  return table.Render();
}

nlohmann::json DemoJson(const DemoResult& result) {
  nlohmann::json nodes = nlohmann::json::array();
  for (const DemoNodeResult& node : result.nodes) {
    nlohmann::json entry = {{"name", node.name},
                            {"node_id", node.id_hex},
                            {"nll_before", node.nll_before},
                            {"nll_after", node.nll_after},
                            {"held_out_tokens", node.held_out_tokens},
                            {"rounds_contributed", node.rounds_contributed},
                            {"masked_bytes_sent", node.masked_bytes}};
    if (!node.prompt.empty()) {
      entry["sample"] = {
          {"prompt", node.prompt}, {"before", node.text_before}, {"after", node.text_after}};
    }
    nodes.push_back(std::move(entry));
  }
  const DemoNodeResult mean = MeanOf(result.nodes);
  return {{"ok", JudgeDemo(result.nodes).ok()},
          {"model", result.model_path},
          {"folder", result.folder.empty() ? nlohmann::json() : nlohmann::json(result.folder)},
          {"min_cohort", DemoFederation::kMinCohort},
          {"nodes", std::move(nodes)},
          {"mean_nll_before", mean.nll_before},
          {"mean_nll_after", mean.nll_after},
          {"run", RunToJson(result.run)},
          {"seconds",
           {{"setup", absl::ToDoubleSeconds(result.setup)},
            {"rounds", absl::ToDoubleSeconds(result.rounds)},
            {"total", absl::ToDoubleSeconds(result.total)}}}};
}

}  // namespace choir::cli
