#include "cli/demo_federation.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "absl/time/clock.h"
#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "cli/failure.h"
#include "cli/interrupt.h"
#include "node/control/control_client.h"
#include "node/identity/enrolment.h"
#include "proto/trust/founding.h"

namespace choir::cli {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kStartPatience = absl::Seconds(30);
constexpr absl::Duration kStartPoll = absl::Milliseconds(20);
constexpr absl::Duration kStopPatience = absl::Seconds(5);
constexpr uint64_t kMaxEndpointsBytes = 1 << 16;
constexpr uint32_t kInviteValid_s = 600;

std::string OwnFolder() {
  std::array<char, 4096> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return n > 0 ? fs::path(std::string(path.data(), static_cast<size_t>(n))).parent_path().string()
               : ".";
}

// A basic string of TOML.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string NodeToml(const DemoFederationOptions& options, const std::string& data) {
  return fmt::format(
      "# Rules of a node of `choir demo`. All settings: configs/node.toml.\n"
      "[data]\n"
      "folder = {}\n"
      "\n"
      "[policy]\n"
      "consent = \"auto\"          # the demo is its own operator\n"
      "min_cohort = {}            # 8 by default; lowered because the demo has few nodes\n"
      "only_on_power = false      # a demo may use the battery\n"
      "min_battery_percent = 0\n"
      "max_temperature_c = 150\n"
      "\n"
      "[engine]\n"
      "backend = \"{}\"\n"
      "threads = 1                # the nodes share this machine\n"
      "nice = 0\n"
      "\n"
      "[models]\n"
      "paths = [{}]\n",
      Quoted(data), DemoFederation::kMinCohort, options.backend,
      Quoted(fs::absolute(options.model).string()));
}

absl::Status Found(const std::string& folder, absl::Time now, RandomSource& random) {
  const trust::FoundingOptions founding{.name = "demo",
                                        .authority_dir = folder + "/authority",
                                        .coordinator_dir = folder + "/coordinator",
                                        .operator_dir = folder + "/operator",
                                        .passphrase = {},
                                        .address = "127.0.0.1:0",  // endpoints.json has the port
                                        .min_cohort = DemoFederation::kMinCohort,
                                        .base_models = {}};
  return trust::FoundFederation(founding, now, random);
}

absl::StatusOr<std::string> ReadAddress(const std::string& endpoints_path) {
  CHOIR_ASSIGN_OR_RETURN(const std::string text, ReadFile(endpoints_path, kMaxEndpointsBytes));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError(endpoints_path + " is no JSON object");
  return json.value("coordinator", std::string());
}

DemoNodeStatus ParseStatus(const std::string& answer, const DemoNodeStatus& before) {
  const nlohmann::json json = nlohmann::json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("status")) return before;
  const nlohmann::json& status = json["status"];
  DemoNodeStatus now = before;
  now.view.state = status.value("state", std::string());
  now.view.step = status.value("step", 0u);
  now.view.total_steps = status.value("total_steps", 0u);
  now.view.loss = status.value("loss", 0.0);
  now.adapter_version = status.value("adapter_version", uint64_t{0});
  now.rounds_contributed = status.value("rounds_contributed", uint64_t{0});
  now.bytes_sent_masked = status.value("bytes_sent_masked", uint64_t{0});
  now.last_problem = status.value("last_problem", std::string());
  return now;
}

}  // namespace

absl::StatusOr<DemoPrograms> FindDemoPrograms() {
  const std::string folder = OwnFolder();
  const DemoPrograms programs{folder + "/choir-coordinator", folder + "/choird"};
  for (const std::string& program : {programs.coordinator, programs.node}) {
    if (::access(program.c_str(), X_OK) == 0) continue;
    return WithHint(absl::NotFoundError(fmt::format("{} is not there", program)),
                    "the demo runs choir-coordinator and choird from choir's own folder: build "
                    "all three (--target choir choird choir-coordinator)");
  }
  return programs;
}

absl::StatusOr<std::string> FindShippedDemo() {
  const std::string installed = OwnFolder() + "/../share/choir/demo";
  for (const std::string& folder : {installed, std::string(CHOIR_DEMO_SOURCE)}) {
    if (::access((folder + "/model.gguf").c_str(), R_OK) == 0) return folder;
  }
  return WithHint(
      absl::NotFoundError(fmt::format("the demo's model and data are neither in {} nor in {}",
                                      installed, CHOIR_DEMO_SOURCE)),
      "give your own with --model M.gguf --data FOLDER");
}

absl::StatusOr<std::unique_ptr<DemoFederation>> DemoFederation::Start(
    const DemoFederationOptions& options, Environment& environment) {
  std::unique_ptr<DemoFederation> federation(new DemoFederation());
  SystemRandom random;
  CHOIR_RETURN_IF_ERROR(Found(options.folder, environment.clock.Now(), random));
  CHOIR_RETURN_IF_ERROR(federation->StartCoordinator(options, environment));
  for (const DemoTexts& texts : options.texts) {
    if (InterruptRequested())
      return absl::CancelledError("the demo and all its programs are stopped");
    CHOIR_RETURN_IF_ERROR(federation->EnrolNode(options, texts, environment));
  }
  for (const Node& node : federation->nodes_) {
    CHOIR_ASSIGN_OR_RETURN(
        ChildProcess process,
        ChildProcess::Start(options.programs.node,
                            {"--home", node.home.path, "--log-level", "info"},
                            fmt::format("{}/{}.log", options.folder, node.name)));
    federation->processes_.push_back(std::move(process));
    federation->statuses_.push_back(
        {.view = {.name = node.name, .state = "starting"}, .last_problem = {}});
  }
  return federation;
}

absl::Status DemoFederation::StartCoordinator(const DemoFederationOptions& options,
                                              Environment& environment) {
  const std::string data = options.folder + "/coordinator";
  CHOIR_ASSIGN_OR_RETURN(ChildProcess process,
                         ChildProcess::Start(options.programs.coordinator,
                                             {"--data", data, "--listen", "127.0.0.1:0",
                                              "--enrol-listen", "127.0.0.1:0"},
                                             options.folder + "/coordinator.log"));
  processes_.push_back(std::move(process));
  const std::string endpoints = data + "/endpoints.json";
  const absl::Time deadline = absl::Now() + kStartPatience;
  while (!fs::exists(endpoints)) {
    CHOIR_RETURN_IF_ERROR(CheckRunning());
    if (InterruptRequested())
      return absl::CancelledError("the demo and all its programs are stopped");
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(
          fmt::format("choir-coordinator does not listen after {}; its log: {}/coordinator.log",
                      absl::FormatDuration(kStartPatience), options.folder));
    }
    absl::SleepFor(kStartPoll);
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string address, ReadAddress(endpoints));
  CHOIR_ASSIGN_OR_RETURN(
      OperatorSession session,
      OperatorSession::Open({.dir = options.folder + "/operator", .address = address},
                            environment));
  session_ = std::make_unique<OperatorSession>(std::move(session));
  return absl::OkStatus();
}

absl::Status DemoFederation::EnrolNode(const DemoFederationOptions& options, const DemoTexts& texts,
                                       Environment& environment) {
  const std::string root = fmt::format("{}/{}", options.folder, texts.name);
  const node::NodeHome home{root + "/node"};
  const std::string data = root + "/data";
  CHOIR_RETURN_IF_ERROR(node::ControlAddress(home.ControlSocket()).status());
  CHOIR_RETURN_IF_ERROR(MakeDirectories(data, 0700));
  CHOIR_RETURN_IF_ERROR(WriteRecords(data + "/train.jsonl", texts.train));
  const std::string held_out = root + "/held-out.jsonl";
  CHOIR_RETURN_IF_ERROR(WriteRecords(held_out, texts.held_out));

  v1::CreateInviteRequest request;
  request.set_valid_s(kInviteValid_s);
  CHOIR_ASSIGN_OR_RETURN(const v1::CreateInviteResponse invite,
                         session_->Call(&v1::OperatorService::Stub::CreateInvite, request));
  SystemRandom random;
  CHOIR_ASSIGN_OR_RETURN(
      const node::Identity identity,
      node::Enrol(home, invite.invite(), texts.name, environment.clock.Now(), random));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(home.Config(), NodeToml(options, data), 0600));
  nodes_.push_back({texts.name, HexEncode(AsBytes(identity.node_id())), home, held_out});
  return absl::OkStatus();
}

absl::Status DemoFederation::CheckRunning() {
  for (ChildProcess& process : processes_) CHOIR_RETURN_IF_ERROR(process.CheckRunning());
  return absl::OkStatus();
}

void DemoFederation::RefreshStatus() {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const absl::StatusOr<std::string> answer =
        node::AskDaemon(nodes_[i].home.ControlSocket(), R"({"command":"status"})");
    if (answer.ok()) statuses_[i] = ParseStatus(*answer, statuses_[i]);
  }
}

void DemoFederation::Stop() {
  // The nodes first: they need nobody to say goodbye to, the coordinator waits for open calls.
  for (auto process = processes_.rbegin(); process != processes_.rend(); ++process) {
    process->AskToStop();
  }
  for (auto process = processes_.rbegin(); process != processes_.rend(); ++process) {
    process->Reap(kStopPatience);
  }
  processes_.clear();
}

}  // namespace choir::cli
