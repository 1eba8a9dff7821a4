// choir-coordinator: a federation's server.
#include <signal.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "coordinator/config.h"
#include "coordinator/gate/evaluate_command.h"
#include "coordinator/gate/evaluation_process.h"
#include "coordinator/service/server.h"
#include "proto/rpc/grpc_log.h"
#include <CLI/CLI.hpp>

namespace choir::coordinator {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;

constexpr const char* kExamples =
    "\nThe data folder is made by `choir federation init`.\n"
    "\nExamples:\n"
    "  choir-coordinator --data /var/lib/choir\n"
    "  choir-coordinator --config /etc/choir/coordinator.toml\n"
    "  choir-coordinator --data ./fed --listen 127.0.0.1:0 --enrol-listen 127.0.0.1:0\n"
    "\nExit codes: 0 stopped as asked (SIGTERM, SIGINT), 1 could not start, 2 wrong usage.\n";

// What the command line sets; empty: not set.
struct Flags {
  std::string config;
  std::string data;
  std::string listen;
  std::string enrol_listen;
  std::string public_address;
  std::string enrol_public_address;
  std::string log_level;
};

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("--config", flags.config, "settings; the options below come before them")
      ->type_name("FILE.toml");
  app.add_option("--data", flags.data, "the coordinator's folder")->type_name("DIR");
  app.add_option("--listen", flags.listen,
                 "for nodes and operators (default 0.0.0.0:7433; port 0: any free one)")
      ->type_name("HOST:PORT");
  app.add_option("--enrol-listen", flags.enrol_listen, "for enrolment (default 0.0.0.0:7434)")
      ->type_name("HOST:PORT");
  app.add_option("--public-address", flags.public_address,
                 "where nodes reach --listen, as invites tell them")
      ->type_name("HOST[:PORT]");
  app.add_option("--enrol-public-address", flags.enrol_public_address,
                 "where nodes reach --enrol-listen")
      ->type_name("HOST[:PORT]");
  app.add_option("--log-level", flags.log_level, "what is logged to standard error (default info)")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
  app.set_version_flag("--version", "choir-coordinator " CHOIR_VERSION);
  app.footer(kExamples);
}

absl::StatusOr<CoordinatorConfig> ConfigFrom(const Flags& flags) {
  CoordinatorConfig config;
  if (!flags.config.empty()) {
    CHOIR_ASSIGN_OR_RETURN(const std::string text, ReadFile(flags.config, kMaxConfigBytes));
    CHOIR_ASSIGN_OR_RETURN(config, ParseConfig(text, flags.config));
  }
  const auto set = [](const std::string& from, std::string& to) {
    if (!from.empty()) to = from;
  };
  set(flags.data, config.server.data);
  set(flags.listen, config.server.listen);
  set(flags.enrol_listen, config.server.enrol_listen);
  set(flags.public_address, config.server.public_address);
  set(flags.enrol_public_address, config.server.enrol_public_address);
  set(flags.log_level, config.log_level);
  config.server.evaluator = "/proc/self/exe";
  if (config.server.data.empty()) {
    return absl::InvalidArgumentError("which folder? Give --data DIR, or `data` in the settings");
  }
  return config;
}

void SetUpLog(const std::string& level) {
  auto logger = spdlog::stderr_logger_mt("coordinator");
  logger->set_pattern("time=%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

int Fail(const absl::Status& status, int code) {
  fmt::print(stderr, "choir-coordinator: error: {}\n", std::string(status.message()));
  return code;
}

// Runs until SIGTERM or SIGINT.
int Run(const CoordinatorConfig& config) {
  // Every thread that is started from here on leaves the two signals to sigwait().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  SetUpLog(config.log_level);
  const SystemClock clock;
  SystemRandom random;
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(config.server, clock, random);
  if (!server.ok()) return Fail(server.status(), 1);
  fmt::print("coordinator of \"{}\"\n  nodes and operators: {}\n  enrolment:           {}\n",
             (*server)->federation_name(), (*server)->address(), (*server)->enrol_address());
  std::fflush(stdout);
  int received = 0;
  sigwait(&signals, &received);
  spdlog::info("coordinator_stopping signal={}", received);
  server->reset();
  return 0;
}

int Main(int argc, char** argv) {
  // Its own executable is the evaluator of its gates, too: no second program to find or to upgrade.
  if (argc == 3 && std::string_view(argv[1]) == kEvaluateCommand)
    return RunEvaluateCommand(argv[2]);
  rpc::QuietGrpcLog();
  CLI::App app{
      "The server of a Choir federation: opens rounds, sums masked updates, merges and "
      "signs adapters.",
      "choir-coordinator"};
  Flags flags;
  AddFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::StatusOr<CoordinatorConfig> config = ConfigFrom(flags);
  if (!config.ok()) return Fail(config.status(), 2);
  return Run(*config);
}

}  // namespace
}  // namespace choir::coordinator

int main(int argc, char** argv) {
  return choir::coordinator::Main(argc, argv);
}
