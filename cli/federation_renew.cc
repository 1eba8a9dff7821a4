// `choir federation renew`: certificates and manifest of a federation for another while.

#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "cli/authority_options.h"
#include "cli/failure.h"
#include "cli/manifest_view.h"

namespace choir::cli {
namespace {

struct Options {
  AuthorityOptions authority;
  std::string data;
  std::string operator_dir;
  uint32_t valid_days = 730;
};

absl::Status Run(const Options& options, Environment& environment) {
  if (options.data.empty() && options.operator_dir.empty()) {
    return UsageError("nothing to renew", "name --data DIR, --operator DIR, or both");
  }
  const absl::Time now = environment.clock.Now();
  const absl::Time end = now + absl::Hours(24) * options.valid_days;
  SystemRandom random;
  CHOIR_ASSIGN_OR_RETURN(trust::Authority authority, OpenAuthority(options.authority));
  Output& output = environment.output;
  if (!options.data.empty()) {
    const absl::Status renewed = authority.RenewCoordinator(options.data, now, end, random);
    if (!renewed.ok()) return BadInput("coordinator", options.data, renewed);
    CHOIR_ASSIGN_OR_RETURN(const v1::Manifest next,
                           trust::NextManifest(authority.manifest(), {.not_after = end}, now));
    CHOIR_ASSIGN_OR_RETURN(const v1::SignedDocument document, authority.Sign(next));
    CHOIR_RETURN_IF_ERROR(
        AtomicWriteFile(options.data + "/manifest.pb", document.SerializeAsString()));
  }
  if (!options.operator_dir.empty()) {
    const absl::Status renewed = authority.RenewOperator(options.operator_dir, now, end, random);
    if (!renewed.ok()) return BadInput("operator", options.operator_dir, renewed);
  }
  output.Json({{"not_after_unix_s", absl::ToUnixSeconds(end)},
               {"manifest_serial", authority.manifest().serial()},
               {"data", options.data},
               {"operator", options.operator_dir}});
  output.Line(
      fmt::format("Valid until {}.", absl::FormatTime("%Y-%m-%d", end, absl::UTCTimeZone())));
  if (!options.data.empty()) {
    output.Line("Next: start choir-coordinator again; it reads its certificates when it starts.");
  }
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddAuthorityOptions(app, options->authority);
  app.add_option("--data", options->data,
                 "The coordinator's folder: its certificates and its manifest are renewed")
      ->type_name("DIR");
  app.add_option("--operator", options->operator_dir,
                 "An operator's folder: its certificate is renewed")
      ->type_name("DIR");
  app.add_option("--valid-days", options->valid_days, "So many days from now")
      ->check(CLI::Range(1u, 3650u))
      ->capture_default_str();
  app.footer(
      "Keys stay as they are, so nodes notice nothing. Nodes renew their own certificates by\n"
      "themselves. The coordinator and `choir` say so from a month before something ends.\n"
      "\nExamples:\n"
      "  choir federation renew --data choir-coordinator-data --operator ~/.config/choir/operator\n"
      "  choir federation renew --operator ~/.config/choir/operator --valid-days 90\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kFederationRenewCommand = {"federation renew",
                                         "New certificates, before the old ones end", &Declare};

}  // namespace choir::cli
