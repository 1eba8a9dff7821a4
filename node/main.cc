// choird: trains LoRA adapters on this device for its federation, when its owner's policy allows.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "node/control/control_server.h"
#include "node/identity/identity.h"
#include "node/policy/owner_policy.h"
#include "node/task/node_daemon.h"
#include "node/worker/worker.h"
#include "proto/rpc/grpc_log.h"
#include <CLI/CLI.hpp>

namespace choir::node {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

constexpr const char* kExamples =
    "Examples:\n"
    "  choird                                   the node in ~/.local/share/choir\n"
    "  choird --home /srv/choir --log-level info\n"
    "\n"
    "Enrol first with `choir node enrol INVITE --data FOLDER`; watch with `choir node status`.\n"
    "Exit codes: 0 stopped as asked, 1 failure, 2 wrong usage.";

std::string OwnProgram() {
  std::array<char, 4096> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return n > 0 ? std::string(path.data(), static_cast<size_t>(n)) : "choird";
}

absl::StatusOr<OwnerPolicy> LoadPolicy(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok()) return text.status();
  return ParseOwnerPolicy(*text, path);
}

// SIGTERM and SIGINT, waited for in a thread of their own: handlers may not take locks.
std::thread StopOnSignal(NodeBoard& board) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return std::thread([signals, &board] {
    int caught = 0;
    ::sigwait(&signals, &caught);
    board.RequestStop();
  });
}

absl::Status RunDaemon(const std::string& home_path) {
  ::signal(SIGPIPE, SIG_IGN);  // whoever read the log may go; the daemon stays
  const NodeHome home{home_path};
  const SystemClock clock;
  SystemRandom random;
  NodeBoard board;
  CHOIR_ASSIGN_OR_RETURN(Identity identity, Identity::Load(home, clock.Now()));
  CHOIR_ASSIGN_OR_RETURN(OwnerPolicy policy, LoadPolicy(home.Config()));
  std::thread signals = StopOnSignal(board);
  absl::StatusOr<std::unique_ptr<ControlServer>> control =
      ControlServer::Start(home.ControlSocket(), board);
  absl::Status status = control.status();
  if (status.ok()) {
    spdlog::info("started home={} federation={}", home.path, identity.federation_name());
    NodeDaemon daemon({.home = home,
                       .identity = std::move(identity),
                       .policy = std::move(policy),
                       .program = OwnProgram(),
                       .version = CHOIR_VERSION,
                       .board = board,
                       .clock = clock,
                       .random = random});
    status = daemon.Run();
  }
  ::pthread_kill(signals.native_handle(), SIGUSR1);
  signals.join();
  return status;
}

int Main(int argc, char** argv) {
  // The worker shares the program, so that daemon and worker are always of one version.
  if (argc == 3 && std::string_view(argv[1]) == "worker") return RunWorker(argv[2]);

  rpc::QuietGrpcLog();
  CLI::App app("choird " CHOIR_VERSION ": trains LoRA adapters on this device for its federation");
  app.footer(kExamples);
  app.set_version_flag("--version", CHOIR_VERSION);
  std::string home = DefaultHome();
  std::string level = "warning";
  app.add_option("--home", home, "The node's folder ($CHOIR_HOME)")->capture_default_str();
  app.add_option("--log-level", level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("choird"));
  spdlog::set_pattern("time=%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  spdlog::set_level(spdlog::level::from_str(level));
  const absl::Status status = RunDaemon(home);
  if (status.ok()) return 0;
  fmt::print(stderr, "choird: error: {}\n", std::string(status.message()));
  return kExitFailure;
}

}  // namespace
}  // namespace choir::node

int main(int argc, char** argv) {
  return choir::node::Main(argc, argv);
}
