#ifndef CHOIR_CLI_BENCH_COMPARE_H_
#define CHOIR_CLI_BENCH_COMPARE_H_

#include "absl/status/status.h"

#include "cli/bench_options.h"
#include "cli/command.h"

namespace choir::cli {

// `choir bench` of several weight formats, or without and with an adapter: all are set up in this
// process and their steps take turns, so that their rates compare even where those of separate
// processes drift. The machine's best is measured before, between and after. RESOURCE_EXHAUSTED if
// they do not fit the memory together.
absl::Status CompareInTurn(const BenchOptions& options, Environment& environment);

}  // namespace choir::cli

#endif  // CHOIR_CLI_BENCH_COMPARE_H_
