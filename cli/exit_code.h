#ifndef CHOIR_CLI_EXIT_CODE_H_
#define CHOIR_CLI_EXIT_CODE_H_

namespace choir::cli {

// What the program tells the shell. Scripts rely on these: never renumber.
enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,      // it was asked properly and did not work
  kUsage = 2,        // options or arguments are wrong
  kBadInput = 3,     // a file is missing, damaged, or not what it should be
  kUnavailable = 4,  // a device, daemon or coordinator is not there
  kInterrupted = 130,
};

inline constexpr const char* kExitCodeHelp =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad input file,\n"
    "            4 device or service not available, 130 interrupted";

}  // namespace choir::cli

#endif  // CHOIR_CLI_EXIT_CODE_H_
