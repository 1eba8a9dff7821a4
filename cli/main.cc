// `choir`: the program for a person at a terminal.

#include <cstdio>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/process_memory.h"
#include "cli/application.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "proto/rpc/grpc_log.h"

int main(int argc, char** argv) {
  choir::ReturnLargeBlocks();
  choir::rpc::QuietGrpcLog();
  choir::cli::InstallInterruptHandler();
  choir::SystemClock clock;
  choir::cli::Output output(stdout, stderr, choir::cli::InspectTerminal(1),
                            choir::cli::InspectTerminal(2));
  choir::cli::Environment environment{output, clock};
  return choir::cli::RunApplication(std::vector<std::string>(argv + 1, argv + argc),
                                    choir::cli::AllCommands(), choir::cli::AllCommandGroups(),
                                    environment);
}
