#include "coordinator/service/server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/gate/evaluation_process.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/service/driver.h"
#include "coordinator/service/federation.h"
#include "coordinator/service/services.h"
#include "coordinator/store/store.h"
#include "proto/rpc/credentials.h"
#include "proto/rpc/tls_version.h"
#include <nlohmann/json.hpp>

namespace choir::coordinator {
namespace {

constexpr std::chrono::seconds kShutdownGrace(2);
constexpr absl::Duration kWarnEvery = absl::Hours(24);

// Holds a lock on a file for as long as it lives: one coordinator a folder.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Take(const std::string& path) {
    FolderLock lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock.fd_ < 0) return ErrnoStatus(path);
    if (flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
      return absl::UnavailableError(
          fmt::format("{}: another coordinator is running in this folder", path));
    }
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

std::string_view HostOf(std::string_view address) {
  const size_t colon = address.rfind(':');
  return colon == std::string_view::npos || address.ends_with(']') ? address
                                                                   : address.substr(0, colon);
}

// gRPC would take only the last 16 bits of a larger port.
absl::Status CheckPort(std::string_view listen) {
  const std::string_view text = listen.substr(std::min(listen.size(), HostOf(listen).size() + 1));
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error == std::errc() && end == text.data() + text.size() && port <= 65535) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("cannot listen on \"{}\": give HOST:PORT, the port from 0 to 65535", listen));
}

// What nodes are told: the public address if there is one, with the real port if it names none.
std::string Public(std::string_view wanted, std::string_view listen, int port) {
  std::string_view address = wanted.empty() ? HostOf(listen) : wanted;
  if (wanted.empty() && (address == "0.0.0.0" || address == "[::]")) address = "127.0.0.1";
  if (HostOf(address) != address) return std::string(address);
  return fmt::format("{}:{}", address, port);
}

}  // namespace

struct Server::State {
  State(Federation from, FolderLock taken) : lock(std::move(taken)), federation(std::move(from)) {}

  FolderLock lock;
  Federation federation;
  std::unique_ptr<Store> store;
  std::unique_ptr<BlobStore> blobs;
  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<EnrolmentServiceImpl> enrolment_service;
  std::unique_ptr<NodeServiceImpl> node_service;
  std::unique_ptr<OperatorServiceImpl> operator_service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<grpc::Server> enrolment_server;
  std::string address;
  std::string enrol_address;
  std::unique_ptr<Driver> driver;

  absl::Time next_warning = absl::InfinitePast();

  // After each tick, from its thread.
  void LookAfter() {
    node_service->CancelStalled();
    operator_service->CancelStalled();
    const absl::Time now = coordinator->clock().Now();
    if (now < next_warning) return;
    next_warning = now + kWarnEvery;
    for (const std::string& warning :
         ExpiryWarnings(federation, coordinator->members().manifest(), now)) {
      spdlog::warn("expiry text=\"{}; `choir federation renew` renews it\"", warning);
    }
  }

  absl::Status Listen(const ServerOptions& options) {
    CHOIR_RETURN_IF_ERROR(CheckPort(options.listen));
    CHOIR_RETURN_IF_ERROR(CheckPort(options.enrol_listen));
    grpc::EnableDefaultHealthCheckService(true);
    node_service = std::make_unique<NodeServiceImpl>(*coordinator);
    operator_service = std::make_unique<OperatorServiceImpl>(*coordinator, federation.root_pem);
    enrolment_service = std::make_unique<EnrolmentServiceImpl>(*coordinator);
    int port = 0;
    grpc::ServerBuilder builder;
    rpc::ApplyServerLimits(builder, options.handshake_s);
    builder.AddListeningPort(
        options.listen, rpc::MutualServerCredentials(federation.root_pem, federation.tls), &port);
    builder.RegisterService(node_service.get());
    builder.RegisterService(operator_service.get());
    server = builder.BuildAndStart();
    if (server == nullptr || port == 0) {
      return absl::UnavailableError(
          fmt::format("cannot listen on {}; is the port in use?", options.listen));
    }
    int enrol_port = 0;
    grpc::ServerBuilder enrol_builder;
    rpc::ApplyServerLimits(enrol_builder, options.handshake_s);
    enrol_builder.AddListeningPort(options.enrol_listen,
                                   rpc::EnrolmentServerCredentials(federation.tls), &enrol_port);
    enrol_builder.RegisterService(enrolment_service.get());
    enrolment_server = enrol_builder.BuildAndStart();
    if (enrolment_server == nullptr || enrol_port == 0) {
      return absl::UnavailableError(
          fmt::format("cannot listen on {}; is the port in use?", options.enrol_listen));
    }
    address = Public(options.public_address, options.listen, port);
    enrol_address = Public(options.enrol_public_address, options.enrol_listen, enrol_port);
    coordinator->members().SetAddresses({enrol_address, address});
    return absl::OkStatus();
  }

  absl::Status WriteEndpoints(const DataFolder& folder) const {
    const nlohmann::json endpoints = {
        {"coordinator", address}, {"enrolment", enrol_address}, {"pid", getpid()}};
    return AtomicWriteFile(folder.Endpoints(), endpoints.dump(2) + "\n");
  }

  void Stop() {
    if (operator_service != nullptr) operator_service->StopWatching();
    if (coordinator != nullptr) coordinator->StopWaiting();
    const auto deadline = std::chrono::system_clock::now() + kShutdownGrace;
    if (enrolment_server != nullptr) enrolment_server->Shutdown(deadline);
    if (server != nullptr) server->Shutdown(deadline);
    driver.reset();
    if (coordinator == nullptr) return;
    if (const absl::Status flushed = coordinator->members().Flush(); !flushed.ok()) {
      spdlog::warn("flush_failed status=\"{}\"", flushed.ToString());
    }
  }
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  state_->Stop();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      const Clock& clock, RandomSource& random) {
  CHOIR_RETURN_IF_ERROR(rpc::RequireTls13());
  const DataFolder folder{options.data};
  CHOIR_ASSIGN_OR_RETURN(Federation federation, LoadFederation(folder, clock.Now()));
  CHOIR_ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(folder.Lock()));
  // From here on ~Server stops what has been started.
  std::unique_ptr<Server> server(
      new Server(std::make_unique<State>(std::move(federation), std::move(lock))));
  State& state = *server->state_;
  CHOIR_ASSIGN_OR_RETURN(state.store, StoreKinds()[0].open(folder.Database()));
  CHOIR_ASSIGN_OR_RETURN(state.blobs, OpenDirectoryBlobStore(folder.Blobs(), kMaxBlobBytes));
  CHOIR_ASSIGN_OR_RETURN(
      state.coordinator,
      Coordinator::Open(state.federation, folder, *state.store, *state.blobs, clock, random));
  if (!options.evaluator.empty()) {
    state.coordinator->SetEvaluate(EvaluateInAProcess(options.evaluator));
  }
  state.coordinator->SetRetention(
      {options.keep_versions, absl::Hours(int64_t{options.unused_blob_hours})});
  CHOIR_RETURN_IF_ERROR(state.Listen(options));
  CHOIR_RETURN_IF_ERROR(state.WriteEndpoints(folder));
  state.driver = std::make_unique<Driver>(*state.coordinator, [&state] { state.LookAfter(); });
  spdlog::info("coordinator_started address={} enrolment={}", state.address, state.enrol_address);
  return server;
}

const std::string& Server::address() const {
  return state_->address;
}
const std::string& Server::enrol_address() const {
  return state_->enrol_address;
}
const std::string& Server::federation_name() const {
  return state_->federation.manifest.name();
}

}  // namespace choir::coordinator
