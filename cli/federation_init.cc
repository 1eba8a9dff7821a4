// `choir federation init`: keys, certificates and manifest of a new federation.

#include <sys/stat.h>

#include <iostream>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "cli/authority_options.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/operator_session.h"
#include "proto/trust/founding.h"

namespace choir::cli {
namespace {

struct Options {
  std::string name;
  std::string authority = "choir-authority";
  std::string data = "choir-coordinator-data";
  std::string operator_dir = DefaultOperatorDir();
  std::string operator_name = "operator";
  std::string address = "localhost:7433";
  std::string passphrase_file;
  uint32_t min_cohort = 8;
  bool distributed_noise = false;
  double min_noise_multiplier = 0;
  double max_epsilon = 0;
  double max_delta = 0;
  std::vector<std::string> models;
};

absl::Status Run(const Options& options, Environment& environment) {
  trust::FoundingOptions founding{.name = options.name,
                                  .authority_dir = options.authority,
                                  .coordinator_dir = options.data,
                                  .operator_dir = options.operator_dir,
                                  .operator_name = options.operator_name,
                                  .passphrase = {},
                                  .address = options.address,
                                  .min_cohort = options.min_cohort,
                                  .privacy = {},
                                  .base_models = {}};
  CHOIR_ASSIGN_OR_RETURN(founding.passphrase, ReadPassphrase(options.passphrase_file));
  for (const std::string& path : options.models) {
    const absl::StatusOr<Digest> digest = Sha256OfFile(path);
    if (!digest.ok()) return BadInput("model", path, digest.status());
    founding.base_models.push_back(*digest);
  }
  founding.privacy.set_distributed(options.distributed_noise);
  founding.privacy.set_min_noise_multiplier(options.min_noise_multiplier);
  founding.privacy.set_max_epsilon(options.max_epsilon);
  founding.privacy.set_max_delta(options.max_delta);
  SystemRandom random;
  CHOIR_RETURN_IF_ERROR(trust::FoundFederation(founding, environment.clock.Now(), random));
  Output& output = environment.output;
  output.Json({{"federation", options.name},
               {"authority", options.authority},
               {"data", options.data},
               {"operator", options.operator_dir},
               {"address", options.address}});
  output.Line(fmt::format("Federation \"{}\" is founded.", options.name));
  output.Line(fmt::format("  {:<28} the authority's key: keep it offline; it signs everything else",
                          options.authority + "/"));
  output.Line(fmt::format("  {:<28} what choir-coordinator runs on", options.data + "/"));
  output.Line(fmt::format("  {:<28} your credentials as operator \"{}\"",
                          options.operator_dir + "/", options.operator_name));
  if (founding.passphrase.empty()) {
    output.Warning(fmt::format("{}/authority.key has no passphrase (--passphrase-file sets one)",
                               options.authority));
  }
  output.Line("");
  output.Line(fmt::format("Next: choir-coordinator --data {}", options.data));
  output.Line("      choir invite create");
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--name", options->name, "The federation's name: a-z, 0-9 and '-'")->required();
  app.add_option("--authority", options->authority, "Folder for the authority's key")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--data", options->data, "Folder for the coordinator")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--operator", options->operator_dir, "Folder for the operator's credentials")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--operator-name", options->operator_name, "In the operator's certificate")
      ->capture_default_str();
  app.add_option("--address", options->address, "Where operators and nodes find the coordinator")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--passphrase-file", options->passphrase_file,
                 "Encrypts the authority's key with this file's first line")
      ->type_name("FILE");
  app.add_option("--min-cohort", options->min_cohort,
                 "Smallest group of nodes that may ever be summed; at least 3")
      ->capture_default_str();
  app.add_flag("--distributed-noise", options->distributed_noise,
               "Only runs whose nodes add the privacy noise themselves");
  app.add_option("--min-noise-multiplier", options->min_noise_multiplier,
                 "Smallest noise multiplier of any run; above 0, no run without noise")
      ->check(CLI::Range(0.0, 1e4));
  app.add_option("--max-epsilon", options->max_epsilon,
                 "Largest privacy budget of any run; 0: a run needs none")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--max-delta", options->max_delta, "Largest delta of any run; 0: any")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--allow-model", options->models,
                 "Base models (GGUF files) that runs may use; may be repeated. Default: any")
      ->type_name("FILE");
  app.footer(
      "Examples:\n"
      "  choir federation init --name night-watch --address choir.example.org:7700\n"
      "  choir federation init --name lab --data /srv/choir --allow-model base.gguf\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kFederationInitCommand = {"federation init", "Found a federation: keys and manifest",
                                        &Declare};

}  // namespace choir::cli
