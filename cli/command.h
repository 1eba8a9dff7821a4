#ifndef CHOIR_CLI_COMMAND_H_
#define CHOIR_CLI_COMMAND_H_

// What a command of the program is. To add one: write cli/<command>.cc with a
// `const Command k<Name>Command`, and add its line to cli/commands.def.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "cli/output.h"

namespace choir::cli {

// What commands work with. Passed in, so that tests own it.
struct Environment {
  Output& output;
  const Clock& clock;
};

// Runs the command with the options that were parsed. The status becomes message and exit code (see
// cli/failure.h).
using Action = std::function<absl::Status(Environment&)>;

// A check for options with a few possible words; name them in the option's description.
CLI::Validator OneOf(std::vector<std::string> words);

struct Command {
  const char* path;     // "train", or "inspect logits" for one in a group
  const char* summary;  // one line, for the list in --help
  // Declares options on `app` (and app.footer() with examples), and returns what to run. The
  // variables that options are bound to live in the action: make them with std::make_shared.
  // --json, --quiet and --color are declared by the frame.
  Action (*declare)(CLI::App& app);
};

// Commands whose path begins with `name`; a group may stand in another ("federation manifest").
struct CommandGroup {
  const char* name;
  const char* summary;
};

// The commands; each is defined in its own file.
#define CHOIR_COMMAND_GROUP(name, summary)
#define CHOIR_COMMAND(Name) extern const Command k##Name##Command;
#include "cli/commands.def"
#undef CHOIR_COMMAND
#undef CHOIR_COMMAND_GROUP

// Everything in commands.def, in its order.
std::span<const Command* const> AllCommands();
std::span<const CommandGroup> AllCommandGroups();

}  // namespace choir::cli

#endif  // CHOIR_CLI_COMMAND_H_
