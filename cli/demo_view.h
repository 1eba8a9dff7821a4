#ifndef CHOIR_CLI_DEMO_VIEW_H_
#define CHOIR_CLI_DEMO_VIEW_H_

// What the demo shows while it runs. Rendering is pure; DemoScreen draws.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

#include "base/clock.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace choir::cli {

// A node as its own daemon describes itself.
struct DemoNodeView {
  std::string name;
  std::string state;  // "training", "waiting", ...
  uint32_t step = 0;
  uint32_t total_steps = 0;
  double loss = 0;
};

struct DemoView {
  std::string activity;  // "round 2: training, 3 at work, 1 ready"
  uint32_t rounds_published = 0;
  uint32_t rounds = 0;
  absl::Duration elapsed;
  std::vector<DemoNodeView> nodes;
};

// A heading and a line for each node, none wider than `columns`.
std::vector<std::string> RenderDemo(const DemoView& view, int columns, BarStyle style);
// The same on one line, for logs.
std::string SummariseDemo(const DemoView& view);

// `text` behind `heading`, broken between words so that lines have at most `columns` characters;
// the lines after the first are indented under the text. Line ends count as spaces.
std::string HangingParagraph(std::string_view heading, std::string_view text, size_t columns);

// Keeps the view at the bottom of the terminal, redrawn in place; lines that stay are written above
// it. Without a terminal: a line whenever the phase changes, or after some seconds. Nothing with
// --quiet.
class DemoScreen {
 public:
  DemoScreen(Output& output, const Clock& clock) : output_(output), clock_(clock) {}
  ~DemoScreen() { Erase(); }
  DemoScreen(const DemoScreen&) = delete;
  DemoScreen& operator=(const DemoScreen&) = delete;

  void Show(const DemoView& view);
  void Say(std::string_view line);
  void Erase();

 private:
  Output& output_;
  const Clock& clock_;
  int lines_drawn_ = 0;
  std::string last_phase_;
  absl::Time last_shown_ = absl::InfinitePast();
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_DEMO_VIEW_H_
