#include "cli/demo_view.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/humane.h"
#include "cli/terminal.h"

namespace choir::cli {
namespace {

constexpr absl::Duration kPlainLineEvery = absl::Seconds(10);
constexpr size_t kStateColumns = 11;  // "aggregating", the longest

std::string Fit(std::string text, int columns) {
  const auto most = static_cast<size_t>(std::max(columns, 1));
  if (text.size() > most) text.resize(most);
  return text;
}

std::string LossText(const DemoNodeView& node) {
  return node.step > 0 ? fmt::format("loss {:.3f}", node.loss) : "";
}

// "round 2: training", without the counts or the stage behind it.
std::string PhaseOf(const DemoView& view) {
  return view.activity.substr(0, view.activity.find_first_of(",("));
}

}  // namespace

std::vector<std::string> RenderDemo(const DemoView& view, int columns, BarStyle style) {
  size_t name_columns = 0;
  for (const DemoNodeView& node : view.nodes)
    name_columns = std::max(name_columns, node.name.size());
  std::vector<std::string> lines;
  lines.push_back(Fit(fmt::format("{}  ({} of {} rounds done, {})", view.activity,
                                  view.rounds_published, view.rounds, HumaneDuration(view.elapsed)),
                      columns));
  for (const DemoNodeView& node : view.nodes) {
    const std::string label =
        fmt::format("  {:<{}}  {:<{}}", node.name, name_columns, node.state, kStateColumns);
    if (node.total_steps == 0) {
      lines.push_back(Fit(label.substr(0, label.find_last_not_of(' ') + 1), columns));
      continue;
    }
    // As wide as the total, so that what follows the bars stays in its column.
    const size_t digits = std::to_string(node.total_steps).size();
    const size_t padding = digits - std::min(digits, std::to_string(node.step).size());
    const ProgressView progress{.label = label,
                                .done = node.step,
                                .total = node.total_steps,
                                .detail = std::string(padding, ' ') + LossText(node)};
    lines.push_back(RenderProgress(progress, columns, style));
  }
  return lines;
}

std::string SummariseDemo(const DemoView& view) {
  std::string text = fmt::format("{:>5}  {}", HumaneDuration(view.elapsed), view.activity);
  for (const DemoNodeView& node : view.nodes) {
    if (node.state != "training" || node.step == 0) continue;
    text += fmt::format("; {} {}/{} {}", node.name, node.step, node.total_steps, LossText(node));
  }
  return text;
}

std::string HangingParagraph(std::string_view heading, std::string_view text, size_t columns) {
  const size_t indent = DisplayWidth(heading);
  std::string result(heading);
  size_t used = indent;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find_first_of(" \n"));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (word.empty()) continue;
    const size_t width = DisplayWidth(word);
    if (used > indent && used + 1 + width > columns) {
      result += '\n' + std::string(indent, ' ');
      used = indent;
    }
    if (used > indent) {
      result += ' ';
      ++used;
    }
    result += word;
    used += width;
  }
  return result;
}

void DemoScreen::Show(const DemoView& view) {
  if (output_.quiet()) return;
  if (!output_.err_terminal().is_terminal) {
    const absl::Time now = clock_.Now();
    if (PhaseOf(view) == last_phase_ && now - last_shown_ < kPlainLineEvery) return;
    last_phase_ = PhaseOf(view);
    last_shown_ = now;
    output_.Note(SummariseDemo(view));
    return;
  }
  // The window may have been resized. One column stays free: a full line would wrap on some.
  const Terminal terminal = InspectTerminal(2);
  const std::vector<std::string> lines = RenderDemo(
      view, terminal.columns - 1, terminal.unicode ? BarStyle::kUnicode : BarStyle::kAscii);
  std::string text = lines_drawn_ > 0 ? fmt::format("\x1b[{}A", lines_drawn_) : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    const Style line_style = i == 0 ? Style::kBold : Style::kPlain;
    text += fmt::format("\r{}\x1b[K\n", output_.StyledErr(line_style, lines[i]));
  }
  text += "\x1b[J";
  output_.RawErr(text);
  lines_drawn_ = static_cast<int>(lines.size());
}

void DemoScreen::Say(std::string_view line) {
  Erase();
  output_.Note(line);
}

void DemoScreen::Erase() {
  if (lines_drawn_ == 0) return;
  output_.RawErr(fmt::format("\x1b[{}A\r\x1b[J", lines_drawn_));
  lines_drawn_ = 0;
}

}  // namespace choir::cli
