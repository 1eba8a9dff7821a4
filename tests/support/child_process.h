#ifndef CHOIR_TESTS_SUPPORT_CHILD_PROCESS_H_
#define CHOIR_TESTS_SUPPORT_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace choir {

// A program that a test runs and watches from outside. stdin is empty; stdout and stderr are kept.
// One that is still there at the end of the test is killed.
class ChildProcess {
 public:
  // `environment`: "NAME=value" added to the test's own.
  ChildProcess(std::vector<std::string> command, const std::vector<std::string>& environment = {});
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void Signal(int signal) const;
  // Its exit code, or -n if signal n ended it.
  int Wait();
  // After Wait.
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;

 private:
  std::string folder_;
  pid_t pid_ = -1;
};

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_CHILD_PROCESS_H_
