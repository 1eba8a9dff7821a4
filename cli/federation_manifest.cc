// `choir federation manifest show | sign | publish`: what the authority allows.

#include <filesystem>
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

struct ShowOptions {
  OperatorOptions connection;
  std::string dir;
};

struct SignOptions {
  AuthorityOptions authority;
  uint32_t min_cohort = 0;
  bool any_model = false;
  std::vector<std::string> allow;
  std::vector<std::string> forbid;
  std::vector<std::string> revoke;
  std::vector<std::string> reinstate;
  uint32_t valid_days = 0;
  trust::PrivacyFloorEdit privacy;
};

absl::Status Show(const ShowOptions& options, Environment& environment) {
  if (options.dir.empty()) {
    CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                           OperatorSession::Open(options.connection, environment));
    CHOIR_ASSIGN_OR_RETURN(const v1::Manifest manifest, FetchManifest(session));
    ShowManifest(manifest, environment);
    return absl::OkStatus();
  }
  CHOIR_ASSIGN_OR_RETURN(const v1::SignedDocument document, ReadManifest(options.dir));
  v1::Manifest manifest;
  if (!manifest.ParseFromString(document.body())) {
    return absl::DataLossError("the manifest cannot be parsed");
  }
  ShowManifest(manifest, environment);
  return absl::OkStatus();
}

// A GGUF file's hash, or the hash itself.
absl::StatusOr<std::string> ModelDigest(const std::string& text) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(text, ignored)) {
    const absl::StatusOr<Digest> digest = Sha256OfFile(text);
    if (!digest.ok()) return BadInput("model", text, digest.status());
    return std::string(AsChars(*digest));
  }
  const absl::StatusOr<std::vector<uint8_t>> bytes = HexDecode(text);
  if (bytes.ok() && bytes->size() == sizeof(Digest)) return std::string(AsChars(*bytes));
  return BadInput("model", text,
                  absl::NotFoundError("it is neither a file nor a SHA-256 in 64 digits"));
}

absl::StatusOr<std::string> NodeIdOf(const std::string& text) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = HexDecode(text);
  if (bytes.ok() && bytes->size() == sizeof(Digest)) return std::string(AsChars(*bytes));
  return UsageError(fmt::format("{} is no node's id, which has 64 hexadecimal digits", text),
                    "`choir node list --json` has them; `choir federation revoke` takes names");
}

absl::StatusOr<trust::ManifestEdit> EditFrom(const SignOptions& options, absl::Time now) {
  trust::ManifestEdit edit;
  if (options.min_cohort != 0) edit.min_cohort = options.min_cohort;
  edit.any_base_model = options.any_model;
  edit.privacy = options.privacy;
  for (const std::string& model : options.allow) {
    CHOIR_ASSIGN_OR_RETURN(std::string digest, ModelDigest(model));
    edit.allow_models.insert(std::move(digest));
  }
  for (const std::string& model : options.forbid) {
    CHOIR_ASSIGN_OR_RETURN(std::string digest, ModelDigest(model));
    edit.forbid_models.insert(std::move(digest));
  }
  for (const std::string& node : options.revoke) {
    CHOIR_ASSIGN_OR_RETURN(std::string id, NodeIdOf(node));
    edit.revoke.insert(std::move(id));
  }
  for (const std::string& node : options.reinstate) {
    CHOIR_ASSIGN_OR_RETURN(std::string id, NodeIdOf(node));
    edit.reinstate.insert(std::move(id));
  }
  if (options.valid_days != 0) edit.not_after = now + absl::Hours(24) * options.valid_days;
  return edit;
}

absl::Status Sign(const SignOptions& options, Environment& environment) {
  const absl::Time now = environment.clock.Now();
  CHOIR_ASSIGN_OR_RETURN(const trust::ManifestEdit edit, EditFrom(options, now));
  CHOIR_ASSIGN_OR_RETURN(trust::Authority authority, OpenAuthority(options.authority));
  CHOIR_ASSIGN_OR_RETURN(const v1::Manifest next,
                         trust::NextManifest(authority.manifest(), edit, now));
  CHOIR_RETURN_IF_ERROR(authority.Sign(next).status());
  ShowManifest(next, environment);
  environment.output.Note(fmt::format(
      "Signed, in {0}/manifest.pb. Next: choir federation manifest publish --authority {0}",
      options.authority.dir));
  return absl::OkStatus();
}

absl::Status Publish(const ShowOptions& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const v1::SignedDocument document, ReadManifest(options.dir));
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  CHOIR_RETURN_IF_ERROR(PublishManifest(session, document));
  CHOIR_ASSIGN_OR_RETURN(const v1::Manifest manifest, FetchManifest(session));
  ShowManifest(manifest, environment);
  environment.output.Note(
      "The coordinator goes by it from now on; nodes take it up when they next ask for work.");
  return absl::OkStatus();
}

Action DeclareShow(CLI::App& app) {
  auto options = std::make_shared<ShowOptions>();
  AddOperatorOptions(app, options->connection);
  app.add_option("--in", options->dir,
                 "The one in this folder (the authority's, the coordinator's). Default: the "
                 "coordinator's present one")
      ->type_name("DIR");
  app.footer(
      "Examples:\n"
      "  choir federation manifest show\n"
      "  choir federation manifest show --in choir-authority --json\n");
  return [options](Environment& environment) { return Show(*options, environment); };
}

void AddPrivacyFloor(CLI::App& app, trust::PrivacyFloorEdit& privacy) {
  app.add_flag("--distributed-noise,!--any-noise", privacy.distributed,
               "Only runs whose nodes add the privacy noise themselves; any: takes that back");
  app.add_option("--min-noise-multiplier", privacy.min_noise_multiplier,
                 "Smallest noise multiplier of any run; above 0, no run without noise")
      ->check(CLI::Range(0.0, 1e4));
  app.add_option("--max-epsilon", privacy.max_epsilon,
                 "Largest privacy budget of any run; 0: a run needs none")
      ->check(CLI::Range(0.0, 1e5));
  app.add_option("--max-delta", privacy.max_delta, "Largest delta of any run; 0: any")
      ->check(CLI::Range(0.0, 0.999));
}

Action DeclareSign(CLI::App& app) {
  auto options = std::make_shared<SignOptions>();
  AddAuthorityOptions(app, options->authority);
  app.add_option("--min-cohort", options->min_cohort,
                 "Smallest group of nodes that may ever be summed; at least 3");
  app.add_option("--allow-model", options->allow,
                 "A base model that runs may use: a GGUF file or its SHA-256; may be repeated")
      ->type_name("FILE|HASH");
  app.add_option("--forbid-model", options->forbid, "Takes one off the list; may be repeated")
      ->type_name("FILE|HASH");
  app.add_flag("--any-model", options->any_model, "Takes the list away: runs may use any");
  app.add_option("--revoke", options->revoke, "A node's id, all 64 digits; may be repeated")
      ->type_name("NODE");
  app.add_option("--reinstate", options->reinstate, "Takes a revocation back; may be repeated")
      ->type_name("NODE");
  AddPrivacyFloor(app, options->privacy);
  app.add_option("--valid-days", options->valid_days, "New end: so many days from now")
      ->check(CLI::Range(1u, 3650u));
  app.footer(
      "The authority's last manifest with these changes, its serial one higher. What is not named\n"
      "stays as it is. Needs no network: sign where the key is, publish from anywhere.\n"
      "Nodes refuse the tasks of a run that promises less privacy than the manifest asks for, "
      "also\n"
      "of one that has begun.\n"
      "\nExamples:\n"
      "  choir federation manifest sign --min-cohort 16\n"
      "  choir federation manifest sign --distributed-noise --max-epsilon 8 --max-delta 1e-5\n"
      "  choir federation manifest sign --allow-model llama.gguf --valid-days 365\n"
      "  choir federation manifest sign --authority /media/key --passphrase-file secret.txt\n");
  return [options](Environment& environment) { return Sign(*options, environment); };
}

Action DeclarePublish(CLI::App& app) {
  auto options = std::make_shared<ShowOptions>();
  options->dir = "choir-authority";
  AddOperatorOptions(app, options->connection);
  app.add_option("--authority", options->dir, "Folder with the signed manifest.pb and root.pem")
      ->type_name("DIR")
      ->capture_default_str();
  app.footer("Examples:\n  choir federation manifest publish --authority choir-authority\n");
  return [options](Environment& environment) { return Publish(*options, environment); };
}

}  // namespace

const Command kFederationManifestShowCommand = {"federation manifest show",
                                                "What the authority allows", &DeclareShow};
const Command kFederationManifestSignCommand = {"federation manifest sign",
                                                "Change the manifest and sign it", &DeclareSign};
const Command kFederationManifestPublishCommand = {
    "federation manifest publish", "Give a signed manifest to the coordinator", &DeclarePublish};

}  // namespace choir::cli
