#ifndef CHOIR_CLI_DEMO_REPORT_H_
#define CHOIR_CLI_DEMO_REPORT_H_

// What came of the demo: measured with the engine, from what each node has on its disk.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "choir/v1/operator.pb.h"
#include "cli/demo_federation.h"
#include "cli/engine_options.h"
#include "cli/output.h"
#include "nlohmann/json.hpp"

namespace choir::cli {

struct DemoNodeResult {
  std::string name;
  std::string id_hex;
  double nll_before = 0;  // nats a token, of its held-out texts
  double nll_after = 0;
  uint64_t held_out_tokens = 0;
  uint64_t rounds_contributed = 0;  // this and the next: from the node's own ledger
  uint64_t masked_bytes = 0;
  std::string prompt;  // a held-out text's beginning; with what the model makes of it
  std::string text_before;
  std::string text_after;
};

struct DemoResult {
  std::vector<DemoNodeResult> nodes;
  v1::RunStatus run;
  std::string model_path;
  std::string folder;  // empty: it is gone
  absl::Duration setup;
  absl::Duration rounds;
  absl::Duration total;
};

// What to measure.
struct DemoMeasurement {
  DeviceOptions device;
  std::string model;
  std::string initial_adapter;  // version 0
  std::string run_id;
  Digest final_digest{};  // of the adapter that the run ended with
};

// Held-out NLL with the initial adapter and with the one that the node itself pulled, what its
// ledger adds up to, and samples of the first and the last node. DATA_LOSS if a node's adapter is
// not the run's.
absl::StatusOr<std::vector<DemoNodeResult>> MeasureDemo(const DemoMeasurement& what,
                                                        const DemoFederation& federation,
                                                        Output& output);

// OK if every node predicts its held-out texts better than before; else FAILED_PRECONDITION with
// the nodes that do not.
absl::Status JudgeDemo(const std::vector<DemoNodeResult>& nodes);

// "round 2  train loss 1.770  18,202 tokens  1.7 MiB received, masked  2.2 s".
std::string DemoRoundLine(const v1::RoundStatus& round);
// One line a node, and their mean.
std::string DemoTable(const std::vector<DemoNodeResult>& nodes);
// A node's prompt and what the model makes of it, before and after.
std::string DemoSample(const DemoNodeResult& node);
nlohmann::json DemoJson(const DemoResult& result);

}  // namespace choir::cli

#endif  // CHOIR_CLI_DEMO_REPORT_H_
