#ifndef CHOIR_CLI_DEMO_FEDERATION_H_
#define CHOIR_CLI_DEMO_FEDERATION_H_

// A whole federation on this machine, in one folder: a real choir-coordinator, and a real choird
// for each node, on loopback.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "cli/command.h"
#include "cli/demo_data.h"
#include "cli/demo_process.h"
#include "cli/demo_view.h"
#include "cli/operator_session.h"
#include "node/identity/identity.h"

namespace choir::cli {

// The programs that the demo runs, beside this one. NOT_FOUND says what to build.
struct DemoPrograms {
  std::string coordinator;
  std::string node;
};
absl::StatusOr<DemoPrograms> FindDemoPrograms();

// The folder with the base model and the data that the project ships: of an installation, else of
// the source tree that this program was built from.
absl::StatusOr<std::string> FindShippedDemo();

struct DemoFederationOptions {
  std::string folder;  // exists, and is empty
  DemoPrograms programs;
  std::string model;
  std::string backend = "cpu";
  std::vector<DemoTexts> texts;  // a node each
};

// What the daemon of one node answers on its control socket.
struct DemoNodeStatus {
  DemoNodeView view;
  uint64_t adapter_version = 0;
  uint64_t rounds_contributed = 0;  // this and the next: sums of the node's own ledger
  uint64_t bytes_sent_masked = 0;
  std::string last_problem;
};

class DemoFederation {
 public:
  struct Node {
    std::string name;
    std::string id_hex;
    node::NodeHome home;
    std::string held_out_path;
  };

  // The floor for cohorts that it sets everywhere: the lowest that there is.
  static constexpr uint32_t kMinCohort = 3;

  // Founds, starts the coordinator, invites and enrols the nodes, and starts them. CANCELLED by
  // Ctrl-C; FAILED_PRECONDITION with a program's last words if one ends early.
  static absl::StatusOr<std::unique_ptr<DemoFederation>> Start(const DemoFederationOptions& options,
                                                               Environment& environment);

  // FAILED_PRECONDITION if one of the programs has ended.
  absl::Status CheckRunning();
  // A daemon that is too busy to answer keeps its last status.
  void RefreshStatus();
  // Ends all programs in order, and waits for them.
  void Stop();

  [[nodiscard]] const OperatorSession& session() const { return *session_; }
  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<DemoNodeStatus>& statuses() const { return statuses_; }

 private:
  DemoFederation() = default;
  absl::Status StartCoordinator(const DemoFederationOptions& options, Environment& environment);
  absl::Status EnrolNode(const DemoFederationOptions& options, const DemoTexts& texts,
                         Environment& environment);

  std::unique_ptr<OperatorSession> session_;
  std::vector<Node> nodes_;
  std::vector<DemoNodeStatus> statuses_;
  std::vector<ChildProcess> processes_;  // the coordinator first
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_DEMO_FEDERATION_H_
