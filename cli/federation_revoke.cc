// `choir federation revoke`: a node is no longer of the federation.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "cli/authority_options.h"
#include "cli/failure.h"
#include "cli/manifest_view.h"

namespace choir::cli {
namespace {

constexpr size_t kFewestDigits = 8;

struct Options {
  OperatorOptions connection;
  AuthorityOptions authority;
  std::vector<std::string> nodes;
};

// The node whose name this is, or whose id begins with it.
absl::StatusOr<std::string> Resolve(const std::string& text, const v1::ListNodesResponse& nodes) {
  std::vector<std::string> found;
  for (const v1::NodeInfo& node : nodes.nodes()) {
    const std::string id = HexEncode(AsBytes(node.node_id()));
    const bool by_id = text.size() >= kFewestDigits && id.starts_with(text);
    if (by_id || node.display_name() == text) found.push_back(node.node_id());
  }
  if (found.size() == 1) return found.front();
  return WithHint(
      found.empty() ? absl::NotFoundError(fmt::format("there is no node {}", text))
                    : absl::InvalidArgumentError(fmt::format(
                          "{} nodes are called {}: name one by its id", found.size(), text)),
      fmt::format("`choir node list` shows names and ids; {} digits of an id are enough",
                  kFewestDigits));
}

absl::Status Run(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(trust::Authority authority, OpenAuthority(options.authority));
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  CHOIR_ASSIGN_OR_RETURN(
      const v1::ListNodesResponse nodes,
      session.Call(&v1::OperatorService::Stub::ListNodes, v1::ListNodesRequest()));
  const auto& revoked = authority.manifest().revoked_node_ids();
  trust::ManifestEdit edit;
  for (const std::string& text : options.nodes) {
    CHOIR_ASSIGN_OR_RETURN(const std::string id, Resolve(text, nodes));
    if (std::find(revoked.begin(), revoked.end(), id) == revoked.end()) edit.revoke.insert(id);
  }
  // A repeated call has nothing to sign, but what was signed may not have been published.
  if (!edit.revoke.empty()) {
    CHOIR_ASSIGN_OR_RETURN(const v1::Manifest next, trust::NextManifest(authority.manifest(), edit,
                                                                        environment.clock.Now()));
    CHOIR_RETURN_IF_ERROR(authority.Sign(next).status());
  }
  CHOIR_ASSIGN_OR_RETURN(const v1::SignedDocument document, ReadManifest(options.authority.dir));
  CHOIR_RETURN_IF_ERROR(PublishManifest(session, document));
  ShowManifest(authority.manifest(), environment);
  environment.output.Note("The coordinator refuses every call of a revoked node from now on.");
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddOperatorOptions(app, options->connection);
  AddAuthorityOptions(app, options->authority);
  app.add_option("node", options->nodes, "Its name, or the first digits of its id; several")
      ->required();
  app.footer(
      "Signs a new manifest with the authority's key and publishes it. A round that goes on does\n"
      "without the node from then on. `choir federation manifest sign --reinstate` takes it back.\n"
      "\nExamples:\n"
      "  choir federation revoke 3f9a5c01\n"
      "  choir federation revoke lost-phone --authority /media/key/choir-authority\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kFederationRevokeCommand = {"federation revoke", "Shut nodes out, from now on",
                                          &Declare};

}  // namespace choir::cli
