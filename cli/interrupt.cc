#include "cli/interrupt.h"

#include <csignal>

namespace choir::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

extern "C" void OnInterrupt(int signal) {
  interrupted = signal;
}

}  // namespace

void InstallInterruptHandler() {
  struct sigaction action = {};
  action.sa_handler = &OnInterrupt;
  // RESETHAND: the next signal has its usual effect. No SA_RESTART: a blocking read wakes up.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool InterruptRequested() {
  return interrupted != 0;
}

void ForgiveInterrupt() {
  if (interrupted != SIGINT) return;
  interrupted = 0;
  InstallInterruptHandler();
}

}  // namespace choir::cli
