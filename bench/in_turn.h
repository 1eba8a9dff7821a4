#ifndef CHOIR_BENCH_IN_TURN_H_
#define CHOIR_BENCH_IN_TURN_H_

// Measurements of the same work done in several ways. Rates of separate processes drift apart on a
// machine that is shared by more than what is to be seen; steps that take turns meet the same
// machine.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace choir::bench {

// Seconds that the same thing took, done again and again. All figures are 0 without any.
class Times {
 public:
  void Add(double seconds) { seconds_.push_back(seconds); }
  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(seconds_.size()); }
  [[nodiscard]] double Fastest() const;
  [[nodiscard]] double Slowest() const;
  [[nodiscard]] double Median() const;
  [[nodiscard]] double Mean() const;
  [[nodiscard]] std::span<const double> seconds() const { return seconds_; }

 private:
  std::vector<double> seconds_;
};

// How many times faster `times` are than `base`: the median of the rounds' ratios, each of two
// steps that came right after each other. 0 without rounds that both have.
double MedianSpeedup(const Times& times, const Times& base);

// What a step does of `work` in a second, as a share of what a step of `other` does of `other_work`
// in the same round: the median of the rounds. 0 without rounds that both have.
double MedianShare(const Times& times, double work, const Times& other, double other_work);

// Something that is measured step by step.
class MeasuredRun {
 public:
  MeasuredRun() = default;
  MeasuredRun(const MeasuredRun&) = delete;
  MeasuredRun& operator=(const MeasuredRun&) = delete;
  virtual ~MeasuredRun() = default;
  // Adds to times().
  virtual absl::Status Step() = 0;
  [[nodiscard]] virtual const Times& times() const = 0;
};

// A step of each, then the next step of each (A B C A B C ...), `rounds` times. `after_round` is
// told how many are done, outside of what is timed.
absl::Status RunInTurn(std::span<MeasuredRun* const> runs, int64_t rounds,
                       const std::function<absl::Status(int64_t)>& after_round);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_IN_TURN_H_
