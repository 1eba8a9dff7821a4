#include "cli/progress.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cli/humane.h"

namespace choir::cli {
namespace {

// A redraw costs a write: ten a second look smooth.
constexpr absl::Duration kRedrawEvery = absl::Milliseconds(100);
// In a log file a line every few seconds is enough to see that it lives.
constexpr absl::Duration kPlainLineEvery = absl::Seconds(10);
constexpr int kLogColumns = 200;
constexpr int kBarColumns = 24;
constexpr int kMinBarColumns = 6;

std::string Bar(double fraction, int width, bool unicode) {
  constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * width * 8);
  const int full = eighths / 8;
  std::string bar;
  for (int i = 0; i < full; ++i) bar += unicode ? "█" : "#";
  int used = full;
  if (unicode && eighths % 8 != 0) {
    bar += kEighths[static_cast<size_t>(eighths % 8)];
    ++used;
  }
  bar.append(static_cast<size_t>(width - used), unicode ? ' ' : '-');
  return bar;
}

// At most `columns` characters of UTF-8 text.
std::string Cut(std::string_view text, int columns) {
  std::string result;
  int used = 0;
  for (const char c : text) {
    const bool starts_character = (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
    if (starts_character && ++used > columns) break;
    result += c;
  }
  return result;
}

}  // namespace

void RateMeter::Record(absl::Time now, double done) {
  samples_.emplace_back(now, done);
  while (samples_.size() > 2 && now - samples_[1].first > window_) samples_.pop_front();
}

double RateMeter::Rate() const {
  if (samples_.size() < 2) return 0;
  const double seconds = absl::ToDoubleSeconds(samples_.back().first - samples_.front().first);
  return seconds > 0 ? (samples_.back().second - samples_.front().second) / seconds : 0;
}

absl::Duration RateMeter::Remaining(double total) const {
  const double rate = Rate();
  if (rate <= 0) return absl::InfiniteDuration();
  return absl::Seconds(std::max(0.0, total - samples_.back().second) / rate);
}

std::string RenderProgress(const ProgressView& view, int columns, BarStyle style) {
  std::string tail =
      view.total > 0 ? fmt::format("{}/{}", view.done, view.total) : fmt::format("{}", view.done);
  if (!view.detail.empty()) tail += fmt::format("  {}", view.detail);
  if (view.remaining != absl::InfiniteDuration()) {
    tail += fmt::format("  ETA {}", HumaneDuration(view.remaining));
  }
  std::string head = view.label + "  ";
  const int room = columns - static_cast<int>(DisplayWidth(head) + DisplayWidth(tail)) - 2;
  if (style != BarStyle::kNone && view.total > 0 && room >= kMinBarColumns) {
    const double fraction = static_cast<double>(view.done) / static_cast<double>(view.total);
    head += Bar(fraction, std::min(room, kBarColumns), style == BarStyle::kUnicode) + "  ";
  }
  return Cut(head + tail, columns);
}

ProgressBar::ProgressBar(Output& output, const Clock& clock, std::string label, int64_t total)
    : output_(output), clock_(clock) {
  view_.label = std::move(label);
  view_.total = total;
}

ProgressBar::~ProgressBar() {
  Finish();
}

void ProgressBar::Update(int64_t done, std::string_view detail) {
  if (finished_ || output_.quiet()) return;
  const absl::Time now = clock_.Now();
  meter_.Record(now, static_cast<double>(done));
  const bool terminal = output_.err_terminal().is_terminal;
  const bool last = view_.total > 0 && done >= view_.total;
  if (!last && now - last_shown_ < (terminal ? kRedrawEvery : kPlainLineEvery)) return;
  last_shown_ = now;
  view_.done = done;
  view_.detail = std::string(detail);
  view_.remaining = view_.total > 0 && !last ? meter_.Remaining(static_cast<double>(view_.total))
                                             : absl::InfiniteDuration();
  if (!terminal) {
    output_.Note(RenderProgress(view_, kLogColumns, BarStyle::kNone));
    return;
  }
  // One column stays free: a full line would wrap on some terminals.
  const Terminal terminal_now = InspectTerminal(2);
  const BarStyle style = terminal_now.unicode ? BarStyle::kUnicode : BarStyle::kAscii;
  const std::string line = RenderProgress(view_, terminal_now.columns - 1, style);
  output_.RawErr(fmt::format("\r{}\x1b[K", line));
  output_.set_transient_line(true);
}

void ProgressBar::Finish() {
  if (finished_) return;
  finished_ = true;
  if (output_.err_terminal().is_terminal && last_shown_ != absl::InfinitePast()) {
    output_.RawErr("\r\x1b[K");
    output_.set_transient_line(false);
  }
}

}  // namespace choir::cli
