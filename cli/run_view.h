#ifndef CHOIR_CLI_RUN_VIEW_H_
#define CHOIR_CLI_RUN_VIEW_H_

// How a run looks to people and programs. Pure: status in, text out.

#include <string>
#include <vector>

#include "choir/v1/operator.pb.h"
#include "cli/output.h"
#include "nlohmann/json.hpp"

namespace choir::cli {

nlohmann::json RunToJson(const v1::RunStatus& run);

// "published: 4 nodes, loss 3.412, 1,024 tokens, 96.1 KiB received, 3.2 s".
std::string RoundLine(const v1::RoundStatus& round);
// "discrete-gaussian, noise multiplier 1: epsilon 4.7285 of 8 at delta 1e-05".
std::string PrivacyLine(const v1::RunStatus& run);
// What goes on right now in the newest round, in one short line: "training: 3 of 4 nodes, 1 ready".
std::string ActivityLine(const v1::RunStatus& run);

// Follows a run's statuses and says each round's end once.
class RunFollower {
 public:
  explicit RunFollower(Output& output) : output_(output) {}
  // Prints what is new. With --json, each status as a line.
  void See(const v1::RunStatus& run);

 private:
  Output& output_;
  uint64_t told_ = 0;  // rounds up to this one
};

bool HasEnded(const v1::RunStatus& run);
// OK for a finished run; ABORTED with the reason otherwise.
absl::Status EndOf(const v1::RunStatus& run);

}  // namespace choir::cli

#endif  // CHOIR_CLI_RUN_VIEW_H_
