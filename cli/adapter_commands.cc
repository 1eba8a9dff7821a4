// `choir adapter list | pull`: what a run has published.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/manifest_view.h"
#include "cli/operator_session.h"
#include "node/task/adapter_chain.h"

namespace choir::cli {
namespace {

struct Options {
  OperatorOptions connection;
  std::string run;
  std::string output;
  int64_t version = -1;
};

// The versions of a run, oldest first, checked as nodes check them: the operator's root certificate
// pins the authority, which names the coordinator's key, which signed each version and result; each
// names the one before it, from the first on.
absl::StatusOr<std::vector<v1::AdapterVersion>> FetchVersions(const OperatorSession& session,
                                                              const std::string& run_id) {
  CHOIR_ASSIGN_OR_RETURN(const v1::Manifest manifest, FetchManifest(session));
  CHOIR_ASSIGN_OR_RETURN(const trust::PublicKey key,
                         trust::PublicKeyFrom(AsBytes(manifest.coordinator_key())));
  v1::ListAdapterVersionsResponse listed;
  for (;;) {
    v1::ListAdapterVersionsRequest request;
    request.set_run_id(run_id);
    request.set_after_version(static_cast<int64_t>(listed.versions_size()) - 1);
    CHOIR_ASSIGN_OR_RETURN(const v1::ListAdapterVersionsResponse response,
                           session.Call(&v1::OperatorService::Stub::ListAdapterVersions, request));
    if (response.versions_size() == 0) break;
    listed.mutable_versions()->MergeFrom(response.versions());
    listed.mutable_round_results()->MergeFrom(response.round_results());
  }
  absl::StatusOr<node::AdapterChain> chain = node::CheckAdapterChain(listed, key);
  const bool of_this_run = chain.ok() && !chain->versions.empty() &&
                           chain->versions.front().run_id() == run_id &&
                           std::ranges::all_of(chain->versions, [](const v1::AdapterVersion& v) {
                             return v.adapter_digest().size() == sizeof(Digest);
                           });
  if (of_this_run) return std::move(chain->versions);
  return WithHint(absl::DataLossError(fmt::format(
                      "the versions of run {} that the coordinator lists do not hold together: {}",
                      run_id, chain.ok() ? "they are of another run" : MessageOf(chain.status()))),
                  "nothing was downloaded; its database is damaged, or somebody changed it");
}

absl::Status List(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<v1::AdapterVersion> versions,
                         FetchVersions(session, options.run));
  nlohmann::json list = nlohmann::json::array();
  TextTable table({"VERSION", "ROUND", "NODES", "TRAIN LOSS", "SIZE", "SHA-256", "MADE"});
  for (const v1::AdapterVersion& version : versions) {
    const std::string digest = HexEncode(AsBytes(version.adapter_digest()));
    list.push_back({{"version", version.version()},
                    {"round", version.round()},
                    {"contributors", version.contributors()},
                    {"mean_train_loss", version.mean_train_loss()},
                    {"bytes", version.adapter_bytes()},
                    {"sha256", digest},
                    {"created_unix_s", version.created_unix_s()}});
    const bool first = version.version() == 0;
    table.AddRow(
        {fmt::format("{}", version.version()), first ? "-" : fmt::format("{}", version.round()),
         first ? "-" : fmt::format("{}", version.contributors()),
         first ? "-" : fmt::format("{:.3f}", version.mean_train_loss()),
         HumaneBytes(version.adapter_bytes()), digest.substr(0, 12),
         absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(version.created_unix_s()),
                          absl::LocalTimeZone())});
  }
  environment.output.Json(list);
  environment.output.Line(table.Render());
  return absl::OkStatus();
}

absl::Status Pull(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<v1::AdapterVersion> versions,
                         FetchVersions(session, options.run));
  const size_t index =
      options.version < 0 ? versions.size() - 1 : static_cast<size_t>(options.version);
  if (index >= versions.size()) {
    return absl::NotFoundError(fmt::format("run {} has versions 0 to {}, not {}", options.run,
                                           versions.size() - 1, options.version));
  }
  const v1::AdapterVersion& version = versions[index];
  Digest digest;
  std::copy(version.adapter_digest().begin(), version.adapter_digest().end(), digest.begin());
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, session.FetchBlob(digest));
  const std::string path =
      options.output.empty() ? fmt::format("{}-v{}.gguf", options.run, index) : options.output;
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(path, bytes));
  environment.output.Json({{"path", path},
                           {"version", index},
                           {"bytes", bytes.size()},
                           {"sha256", DigestToHex(digest)}});
  environment.output.Line(
      fmt::format("{}: version {} of {}, {}", path, index, options.run, HumaneBytes(bytes.size())));
  return absl::OkStatus();
}

Action DeclareList(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddOperatorOptions(app, options->connection);
  app.add_option("run", options->run, "The run's name")->required();
  app.footer("Examples:\n  choir adapter list shakespeare-1\n");
  return [options](Environment& environment) { return List(*options, environment); };
}

Action DeclarePull(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddOperatorOptions(app, options->connection);
  app.add_option("run", options->run, "The run's name")->required();
  app.add_option("--output,-o", options->output, "Where to write it. Default: RUN-vN.gguf")
      ->type_name("FILE");
  app.add_option("--version", options->version, "Which version. Default: the newest");
  app.footer(
      "Examples:\n"
      "  choir adapter pull shakespeare-1 -o tuned.gguf\n"
      "  choir generate --model base.gguf --adapter tuned.gguf --prompt \"O Romeo\"\n");
  return [options](Environment& environment) { return Pull(*options, environment); };
}

}  // namespace

const Command kAdapterListCommand = {"adapter list", "Versions that a run has published",
                                     &DeclareList};
const Command kAdapterPullCommand = {"adapter pull", "Download an adapter", &DeclarePull};

}  // namespace choir::cli
