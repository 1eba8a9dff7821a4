#include "cli/run_watching.h"

#include <optional>

#include "base/status_macros.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/run_view.h"

namespace choir::cli {

absl::Status FollowRun(const OperatorSession& session, const std::string& run_id,
                       Environment& environment) {
  RunFollower follower(environment.output);
  std::optional<ProgressBar> bar;
  v1::RunStatus last;
  CHOIR_RETURN_IF_ERROR(session.WatchRun(run_id, [&](const v1::RunStatus& run) {
    last = run;
    if (!bar.has_value()) {
      bar.emplace(environment.output, environment.clock, run_id, run.config().pacing().rounds());
    }
    follower.See(run);
    bar->Update(run.rounds_published(), ActivityLine(run));
    return !HasEnded(run) && !InterruptRequested();
  }));
  bar.reset();
  if (!HasEnded(last)) return absl::CancelledError("no longer watching; the run goes on");
  return EndOf(last);
}

}  // namespace choir::cli
