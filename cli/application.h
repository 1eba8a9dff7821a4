#ifndef CHOIR_CLI_APPLICATION_H_
#define CHOIR_CLI_APPLICATION_H_

#include <span>
#include <string>
#include <vector>

#include "cli/command.h"

namespace choir::cli {

// Parses `arguments` (without the program's name), runs the command that they name, reports its
// failure, and returns the exit code (cli/exit_code.h).
int RunApplication(std::vector<std::string> arguments, std::span<const Command* const> commands,
                   std::span<const CommandGroup> groups, Environment& environment);

}  // namespace choir::cli

#endif  // CHOIR_CLI_APPLICATION_H_
