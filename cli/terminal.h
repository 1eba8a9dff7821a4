#ifndef CHOIR_CLI_TERMINAL_H_
#define CHOIR_CLI_TERMINAL_H_

namespace choir::cli {

// What one of the program's streams is connected to.
struct Terminal {
  bool is_terminal = false;
  bool colour = false;   // NO_COLOR is not set, and it is no "dumb" terminal
  bool unicode = false;  // the locale is UTF-8
  int columns = 80;
};

// `fd`: 1 or 2. Looks at the environment and asks for the width; the width may change later.
Terminal InspectTerminal(int fd);

}  // namespace choir::cli

#endif  // CHOIR_CLI_TERMINAL_H_
