#include "bench/in_turn.h"

#include <algorithm>
#include <numeric>

#include "base/status_macros.h"

namespace choir::bench {
namespace {

double MedianOf(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

double Times::Fastest() const {
  return seconds_.empty() ? 0 : *std::min_element(seconds_.begin(), seconds_.end());
}

double Times::Slowest() const {
  return seconds_.empty() ? 0 : *std::max_element(seconds_.begin(), seconds_.end());
}

double Times::Median() const {
  return MedianOf(seconds_);
}

double Times::Mean() const {
  if (seconds_.empty()) return 0;
  const double sum = std::accumulate(seconds_.begin(), seconds_.end(), 0.0);
  return sum / static_cast<double>(seconds_.size());
}

double MedianSpeedup(const Times& times, const Times& base) {
  std::vector<double> ratios;
  const size_t rounds = std::min(times.seconds().size(), base.seconds().size());
  for (size_t i = 0; i < rounds; ++i) ratios.push_back(base.seconds()[i] / times.seconds()[i]);
  return MedianOf(std::move(ratios));
}

double MedianShare(const Times& times, double work, const Times& other, double other_work) {
  return other_work > 0 ? MedianSpeedup(times, other) * work / other_work : 0;
}

absl::Status RunInTurn(std::span<MeasuredRun* const> runs, int64_t rounds,
                       const std::function<absl::Status(int64_t)>& after_round) {
  for (int64_t round = 1; round <= rounds; ++round) {
    for (MeasuredRun* const run : runs) CHOIR_RETURN_IF_ERROR(run->Step());
    CHOIR_RETURN_IF_ERROR(after_round(round));
  }
  return absl::OkStatus();
}

}  // namespace choir::bench
