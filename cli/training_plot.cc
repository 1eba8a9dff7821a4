// Draws a TrainingCurve as SVG.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/training_curve.h"

namespace choir::cli {
namespace {

// Pixels of the picture, which scales to any size.
constexpr double kWidth = 960;
constexpr double kHeight = 620;
constexpr double kLeft = 76;
constexpr double kRight = 936;
constexpr double kLossTop = 76;
constexpr double kLossBottom = 426;
constexpr double kRateTop = 470;
constexpr double kRateBottom = 560;
// More points than this cannot be told apart at this width.
constexpr size_t kMaxPoints = 800;
constexpr int kMaxTicks = 40;
// Okabe and Ito's colours, which people with any colour vision tell apart.
constexpr const char* kTrainColour = "#0072b2";
constexpr const char* kHeldOutColour = "#d55e00";
constexpr const char* kRateColour = "#009e73";

struct Point {
  double x = 0;
  double y = 0;
};

// A range of values, and the pixels it is drawn on.
struct Axis {
  double low = 0;
  double high = 1;
  double low_pixel = 0;
  double high_pixel = 1;
  [[nodiscard]] double Pixel(double value) const {
    return low_pixel + (value - low) / (high - low) * (high_pixel - low_pixel);
  }
};

// XML takes neither markup nor control characters.
std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f) {
      out += c;
    } else {
      out += '?';
    }
  }
  return out;
}

// 1, 2 or 5 times a power of ten, so that about `count` of them fill `range`.
double NiceStep(double range, int count) {
  const double rough = range / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10.0 * power;
}

std::vector<double> Ticks(const Axis& axis, double step) {
  std::vector<double> ticks;
  const double slack = 1e-9 * (axis.high - axis.low);
  const double first = std::ceil((axis.low - slack) / step);
  // Bounded, as adding 1 to a huge number may not change it.
  for (int i = 0; i < kMaxTicks; ++i) {
    const double tick = (first + i) * step;
    if (!(tick <= axis.high + slack)) break;
    ticks.push_back(tick);
  }
  return ticks;
}

// Around all values, with some air; never empty.
Axis AxisAround(const std::vector<Point>& points, double low_pixel, double high_pixel) {
  double low = points.empty() ? 0.0 : points.front().y;
  double high = low;
  for (const Point& point : points) {
    low = std::min(low, point.y);
    high = std::max(high, point.y);
  }
  const double air = high > low ? 0.05 * (high - low) : std::max(0.05 * std::abs(high), 1e-3);
  return {.low = low - air, .high = high + air, .low_pixel = low_pixel, .high_pixel = high_pixel};
}

// Means of runs of points, where there are too many.
std::vector<Point> ThinOut(const std::vector<Point>& points) {
  if (points.size() <= kMaxPoints) return points;
  std::vector<Point> out;
  for (size_t i = 0; i < kMaxPoints; ++i) {
    const size_t begin = i * points.size() / kMaxPoints;
    const size_t end = (i + 1) * points.size() / kMaxPoints;
    Point mean;
    for (size_t k = begin; k < end; ++k) {
      mean.x += points[k].x / static_cast<double>(end - begin);
      mean.y += points[k].y / static_cast<double>(end - begin);
    }
    out.push_back(mean);
  }
  return out;
}

class Picture {
 public:
  explicit Picture(std::string_view title) {
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
        "height=\"{1}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#333\">\n"
        "<title>{2}</title>\n<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n",
        kWidth, kHeight, Escape(title));
    Text(kLeft, 28, "start", title, " font-size=\"17\" font-weight=\"bold\"");
  }

  void Text(double x, double y, const char* anchor, std::string_view text,
            std::string_view attributes = {}) {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                        anchor, attributes, Escape(text));
  }

  void Line(double x1, double y1, double x2, double y2, const char* colour) {
    out_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1,
        x2, y2, colour);
  }

  void Curve(const std::vector<Point>& points, const Axis& x, const Axis& y,
             std::string_view style) {
    if (points.empty()) return;
    out_ += "<polyline fill=\"none\" " + std::string(style) + " points=\"";
    for (const Point& point : points) {
      out_ += fmt::format("{:.1f},{:.1f} ", x.Pixel(point.x), y.Pixel(point.y));
    }
    out_ += "\"/>\n";
    if (points.size() == 1) Dot(points[0], x, y, 3, "#333");
  }

  void Dot(const Point& point, const Axis& x, const Axis& y, double radius, const char* colour) {
    out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"/>\n",
                        x.Pixel(point.x), y.Pixel(point.y), radius, colour);
  }

  void Ring(const Point& point, const Axis& x, const Axis& y, const char* colour) {
    out_ += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"7\" fill=\"none\" stroke=\"{}\" "
        "stroke-width=\"2\"/>\n",
        x.Pixel(point.x), y.Pixel(point.y), colour);
  }

  // Grid lines and numbers of a vertical axis, and its name along it.
  void VerticalAxis(const Axis& axis, int ticks, std::string_view name) {
    for (const double tick : Ticks(axis, NiceStep(axis.high - axis.low, ticks))) {
      const double y = axis.Pixel(tick);
      Line(kLeft, y, kRight, y, "#e4e4e4");
      Text(kLeft - 8, y + 4, "end", fmt::format("{:.6g}", std::abs(tick) < 1e-15 ? 0.0 : tick));
    }
    const double middle = (axis.low_pixel + axis.high_pixel) / 2;
    Text(20, middle, "middle", name, fmt::format(" transform=\"rotate(-90 20 {:.1f})\"", middle));
  }

  void HorizontalAxis(const Axis& axis, double y, bool numbers) {
    Line(kLeft, y, kRight, y, "#888");
    const double step = std::max(1.0, NiceStep(axis.high - axis.low, 8));
    for (const double tick : Ticks(axis, step)) {
      Line(axis.Pixel(tick), y, axis.Pixel(tick), y + 5, "#888");
      if (numbers) Text(axis.Pixel(tick), y + 19, "middle", fmt::format("{:.0f}", tick));
    }
  }

  // A sample of a line and what it stands for; returns where the next one begins.
  double Legend(double x, std::string_view style, std::string_view text) {
    out_ += fmt::format("<polyline fill=\"none\" {} points=\"{:.1f},52 {:.1f},52\"/>\n", style, x,
                        x + 26);
    Text(x + 32, 56, "start", text);
    return x + 32 + 7.2 * static_cast<double>(text.size()) + 22;
  }

  std::string Finish() && { return std::move(out_) + "</svg>\n"; }

 private:
  std::string out_;
};

std::string Stroke(const char* colour, double width, double opacity = 1) {
  return fmt::format(
      "stroke=\"{}\" stroke-width=\"{}\" stroke-opacity=\"{}\" stroke-linejoin=\"round\"", colour,
      width, opacity);
}

// The curves in the units of the picture's axes.
struct Curves {
  std::vector<Point> loss;
  std::vector<Point> smooth;
  std::vector<Point> held_out;
  std::vector<Point> rate;
  const TrainingCurve::HeldOut* best = nullptr;
  double span = 1;  // of the smoothing, in steps
};

Curves CurvesOf(const TrainingCurve& curve) {
  Curves curves;
  curves.span = std::max(1.0, std::round(static_cast<double>(curve.steps.size()) / 20));
  const std::vector<double> smooth = SmoothLosses(curve.steps, curves.span);
  for (size_t i = 0; i < curve.steps.size(); ++i) {
    const auto step = static_cast<double>(curve.steps[i].step);
    curves.loss.push_back({step, curve.steps[i].loss});
    curves.smooth.push_back({step, smooth[i]});
    curves.rate.push_back({step, curve.steps[i].learning_rate});
  }
  for (const TrainingCurve::HeldOut& point : curve.held_out) {
    curves.held_out.push_back({static_cast<double>(point.step), point.loss});
    if (point.is_best) curves.best = &point;
  }
  for (std::vector<Point>* points :
       {&curves.loss, &curves.smooth, &curves.held_out, &curves.rate}) {
    *points = ThinOut(*points);
  }
  return curves;
}

Axis StepAxis(const TrainingCurve& curve) {
  int64_t first = curve.steps.empty() ? 0 : curve.steps.front().step;
  int64_t last = curve.steps.empty() ? 1 : curve.steps.back().step;
  if (!curve.held_out.empty()) {
    first = std::min(first, curve.held_out.front().step);
    last = std::max(last, curve.held_out.back().step);
  }
  return {.low = static_cast<double>(first),
          .high = static_cast<double>(std::max(last, first + 1)),
          .low_pixel = kLeft,
          .high_pixel = kRight};
}

void DrawLoss(const Curves& curves, const Axis& x, Picture& picture) {
  std::vector<Point> all = curves.loss;
  all.insert(all.end(), curves.held_out.begin(), curves.held_out.end());
  const Axis y = AxisAround(all, kLossBottom, kLossTop);
  picture.VerticalAxis(y, 6, "loss (nats a token)");
  picture.HorizontalAxis(x, kLossBottom, false);
  picture.Curve(curves.loss, x, y, Stroke(kTrainColour, 1, 0.4));
  picture.Curve(curves.smooth, x, y, Stroke(kTrainColour, 2.5));
  picture.Curve(curves.held_out, x, y, Stroke(kHeldOutColour, 2));
  if (curves.held_out.size() <= 60) {
    for (const Point& point : curves.held_out) picture.Dot(point, x, y, 3, kHeldOutColour);
  }
  if (curves.best != nullptr) {
    picture.Ring({static_cast<double>(curves.best->step), curves.best->loss}, x, y, kHeldOutColour);
  }
}

void DrawLegend(const Curves& curves, Picture& picture) {
  double at = picture.Legend(kLeft, Stroke(kTrainColour, 1, 0.4), "training loss");
  at = picture.Legend(at, Stroke(kTrainColour, 2.5),
                      fmt::format("smoothed over {:.0f} steps", curves.span));
  if (curves.held_out.empty()) return;
  std::string text = "held-out loss";
  if (curves.best != nullptr) {
    text += fmt::format(", best {:.4f} at step {}", curves.best->loss, curves.best->step);
  }
  picture.Legend(at, Stroke(kHeldOutColour, 2), text);
}

}  // namespace

std::string RenderTrainingPlot(const TrainingCurve& curve, std::string_view title) {
  const Curves curves = CurvesOf(curve);
  const Axis x = StepAxis(curve);
  Picture picture(title);
  DrawLegend(curves, picture);
  DrawLoss(curves, x, picture);
  Axis rate = AxisAround(curves.rate, kRateBottom, kRateTop);
  rate.low = 0;
  picture.VerticalAxis(rate, 4, "learning rate");
  picture.HorizontalAxis(x, kRateBottom, true);
  picture.Curve(curves.rate, x, rate, Stroke(kRateColour, 2));
  picture.Text((kLeft + kRight) / 2, kRateBottom + 40, "middle", "optimizer step");
  return std::move(picture).Finish();
}

}  // namespace choir::cli
