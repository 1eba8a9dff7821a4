#include "cli/command.h"

namespace choir::cli {

namespace {

constexpr const Command* kCommands[] = {
#define CHOIR_COMMAND_GROUP(name, summary)
#define CHOIR_COMMAND(Name) &k##Name##Command,
#include "cli/commands.def"
#undef CHOIR_COMMAND
#undef CHOIR_COMMAND_GROUP
};

constexpr CommandGroup kGroups[] = {
#define CHOIR_COMMAND_GROUP(name, summary) {name, summary},
#define CHOIR_COMMAND(Name)
#include "cli/commands.def"
#undef CHOIR_COMMAND
#undef CHOIR_COMMAND_GROUP
};

}  // namespace

std::span<const Command* const> AllCommands() {
  return kCommands;
}
std::span<const CommandGroup> AllCommandGroups() {
  return kGroups;
}

}  // namespace choir::cli
