// `choir node enrol`: this device joins a federation, with its owner's rules.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "node/identity/enrolment.h"

namespace choir::cli {
namespace {

struct Options {
  std::string invite;
  std::string home = node::DefaultHome();
  std::string name;
  std::string data;
  std::vector<std::string> models;
  std::string consent = "ask";
  uint32_t min_cohort = 8;
  std::string backend = "auto";
  int threads = 0;
};

// A basic string of TOML.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
}

std::string NodeToml(const Options& options) {
  std::vector<std::string> models;
  for (const std::string& path : options.models) {
    models.push_back(Quoted(std::filesystem::absolute(path).string()));
  }
  return fmt::format(
      "# Your rules for this device; choird reads them when it starts. All settings: "
      "configs/node.toml.\n"
      "[data]\n"
      "folder = {}          # what is learned from; it never leaves this device\n"
      "\n"
      "[policy]\n"
      "consent = \"{}\"     # ask, allow-listed or auto\n"
      "min_cohort = {}      # never summed with fewer nodes than this\n"
      "\n"
      "[engine]\n"
      "backend = \"{}\"\n"
      "threads = {}\n"
      "\n"
      "[models]\n"
      "paths = [{}]         # base models that are here already\n",
      Quoted(std::filesystem::absolute(options.data).string()), options.consent, options.min_cohort,
      options.backend, options.threads, fmt::join(models, ", "));
}

absl::Status Run(const Options& options, Environment& environment) {
  std::error_code error;
  if (!std::filesystem::exists(options.data, error)) {
    return BadInput("data", options.data, absl::NotFoundError("there is no such folder"),
                    "name the folder with the texts to learn from: --data FOLDER");
  }
  for (const std::string& path : options.models) {
    if (!std::filesystem::is_regular_file(path, error)) {
      return BadInput("model", path, absl::NotFoundError("there is no such file"));
    }
  }
  if (options.min_cohort < 3) {
    return UsageError("--min-cohort must be at least 3",
                      "in a smaller group, others could work out what this device sent");
  }
  SystemRandom random;
  const node::NodeHome home{std::filesystem::absolute(options.home).string()};
  CHOIR_ASSIGN_OR_RETURN(
      const node::Identity identity,
      node::Enrol(home, options.invite, options.name, environment.clock.Now(), random));
  if (!std::filesystem::exists(home.Config(), error)) {
    CHOIR_RETURN_IF_ERROR(AtomicWriteFile(home.Config(), NodeToml(options), 0600));
  }
  Output& output = environment.output;
  const std::string id = HexEncode(AsBytes(identity.node_id()));
  output.Json({{"node_id", id},
               {"federation", identity.federation_name()},
               {"coordinator", identity.coordinator_address()},
               {"home", home.path}});
  output.Line(fmt::format("This device belongs to \"{}\" now, as node {}.",
                          identity.federation_name(), id.substr(0, 12)));
  output.Line(fmt::format("Its rules are in {}.", home.Config()));
  output.Line(fmt::format("Next: choird{}",
                          options.home == node::DefaultHome() ? "" : " --home " + options.home));
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("invite", options->invite, "The invite: choir1:...")->required();
  app.add_option("--data", options->data, "Folder with the texts to learn from; they never leave")
      ->required()
      ->type_name("FOLDER");
  app.add_option("--home", options->home, "Where the node keeps its files ($CHOIR_HOME)")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--name", options->name,
                 "How the operator sees this device. Default: node- and the start of its id");
  app.add_option("--model", options->models, "Base models that are here already; may be repeated")
      ->type_name("FILE");
  app.add_option("--consent", options->consent, "ask, allow-listed or auto: who allows a run")
      ->check(OneOf({"ask", "allow-listed", "auto"}))
      ->capture_default_str();
  app.add_option("--min-cohort", options->min_cohort, "Fewest nodes to be summed with; at least 3")
      ->capture_default_str();
  app.add_option("--backend", options->backend, "auto, cpu or vulkan")
      ->check(OneOf({"auto", "cpu", "vulkan"}))
      ->capture_default_str();
  app.add_option("--threads", options->threads, "CPU threads; 0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.footer(
      "Examples:\n"
      "  choir node enrol choir1:CiB... --data ~/notes\n"
      "  choir node enrol choir1:CiB... --data ~/notes --model llama.gguf --consent auto\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kNodeEnrolCommand = {"node enrol", "Join a federation with an invite", &Declare};

}  // namespace choir::cli
