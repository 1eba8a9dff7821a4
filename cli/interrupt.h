#ifndef CHOIR_CLI_INTERRUPT_H_
#define CHOIR_CLI_INTERRUPT_H_

namespace choir::cli {

// Makes Ctrl-C (and SIGTERM) a request instead of the end: the first one is remembered, so that a
// command can save its work; the second one ends the program at once. Signals belong to the
// process, so this is the one place of the program with state of its own. Call once, in main.
void InstallInterruptHandler();

// Was the program asked to stop?
bool InterruptRequested();

// A Ctrl-C was obeyed and the program goes on: the next one is a request again. SIGTERM is not
// forgiven.
void ForgiveInterrupt();

}  // namespace choir::cli

#endif  // CHOIR_CLI_INTERRUPT_H_
