#ifndef CHOIR_CLI_TRAINING_CURVE_H_
#define CHOIR_CLI_TRAINING_CURVE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace choir::cli {

// How a training run went, step by step: what --log-jsonl writes and --plot draws.
struct TrainingCurve {
  struct Step {
    int64_t step = 0;
    double loss = 0;
    double learning_rate = 0;
  };
  struct HeldOut {
    int64_t step = 0;
    double loss = 0;
    bool is_best = false;  // the best so far
  };
  std::vector<Step> steps;
  std::vector<HeldOut> held_out;
};

// Adds what a line of a step log says; false if it is no such line.
bool AddLogLine(std::string_view line, TrainingCurve& curve);

// The losses of `steps` under an exponential moving average over about `span` steps, without the
// bias of its beginning.
std::vector<double> SmoothLosses(const std::vector<TrainingCurve::Step>& steps, double span);

// The curve as an SVG picture of its own: training loss as measured and smoothed, held-out loss
// with its best value, and the learning rate below. Long runs are thinned out to what a picture can
// show. `title`: any text.
std::string RenderTrainingPlot(const TrainingCurve& curve, std::string_view title);

}  // namespace choir::cli

#endif  // CHOIR_CLI_TRAINING_CURVE_H_
