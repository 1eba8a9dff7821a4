// `choir node list`: the federation's nodes, as its operator may see them.

#include <memory>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/humane.h"
#include "cli/operator_session.h"

namespace choir::cli {
namespace {

absl::Status Run(const OperatorOptions& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options, environment));
  CHOIR_ASSIGN_OR_RETURN(
      const v1::ListNodesResponse response,
      session.Call(&v1::OperatorService::Stub::ListNodes, v1::ListNodesRequest()));
  nlohmann::json list = nlohmann::json::array();
  TextTable table({"NODE", "NAME", "STATE", "RUN", "ROUND", "SEEN"});
  for (const v1::NodeInfo& node : response.nodes()) {
    const std::string id = HexEncode(AsBytes(node.node_id()));
    list.push_back({{"node_id", id},
                    {"name", node.display_name()},
                    {"state", node.state()},
                    {"run", node.run_id()},
                    {"round", node.round()},
                    {"enrolled_unix_s", node.enrolled_unix_s()},
                    {"last_seen_unix_s", node.last_seen_unix_s()}});
    const bool seen = node.last_seen_unix_s() > 0;
    table.AddRow({id.substr(0, 12), node.display_name(), node.state(),
                  node.run_id().empty() ? "-" : node.run_id(),
                  node.run_id().empty() ? "-" : fmt::format("{}", node.round()),
                  seen ? HumaneDuration(environment.clock.Now() -
                                        absl::FromUnixSeconds(node.last_seen_unix_s())) +
                             " ago"
                       : "never"});
  }
  environment.output.Json(list);
  if (response.nodes_size() == 0) {
    environment.output.Line("No nodes yet: `choir invite create` invites one.");
  } else {
    environment.output.Line(table.Render());
  }
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<OperatorOptions>();
  AddOperatorOptions(app, *options);
  app.footer("Examples:\n  choir node list\n  choir node list --json\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kNodeListCommand = {"node list", "The federation's nodes", &Declare};

}  // namespace choir::cli
