#ifndef CHOIR_CLI_PROGRESS_H_
#define CHOIR_CLI_PROGRESS_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"

#include "base/clock.h"
#include "cli/output.h"

namespace choir::cli {

// Speed over the last seconds, so that an estimate follows a machine that slows down.
class RateMeter {
 public:
  explicit RateMeter(absl::Duration window = absl::Seconds(20)) : window_(window) {}
  // `done` never falls.
  void Record(absl::Time now, double done);
  // Per second; 0 while unknown.
  [[nodiscard]] double Rate() const;
  // Until `total`; infinite while unknown.
  [[nodiscard]] absl::Duration Remaining(double total) const;

 private:
  absl::Duration window_;
  std::deque<std::pair<absl::Time, double>> samples_;
};

// What a progress line shows; RenderProgress is pure, so that a test sees what a user sees.
struct ProgressView {
  std::string label;  // "train"
  int64_t done = 0;
  int64_t total = 0;   // 0: not known, no bar
  std::string detail;  // "loss 1.83  1,240 tokens/s"
  absl::Duration remaining = absl::InfiniteDuration();
};
enum class BarStyle : uint8_t { kNone, kAscii, kUnicode };
// One line of at most `columns` characters, e.g. "train  ██████▌     12/20  loss 1.83  ETA 0:42".
// Where there is little room, the bar goes first.
std::string RenderProgress(const ProgressView& view, int columns, BarStyle style);

// Shows how a long command gets on: a bar redrawn in place on a terminal, a plain line now and then
// otherwise, nothing with --quiet. Output's other lines may be written in between.
class ProgressBar {
 public:
  ProgressBar(Output& output, const Clock& clock, std::string label, int64_t total);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(int64_t done, std::string_view detail);
  // Removes the bar; later updates are ignored.
  void Finish();

 private:
  Output& output_;
  const Clock& clock_;
  ProgressView view_;
  RateMeter meter_;
  absl::Time last_shown_ = absl::InfinitePast();
  bool finished_ = false;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_PROGRESS_H_
