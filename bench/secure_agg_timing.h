#ifndef CHOIR_BENCH_SECURE_AGG_TIMING_H_
#define CHOIR_BENCH_SECURE_AGG_TIMING_H_

#include <cstdint>
#include <string>
#include <vector>

// Whether what handles secrets takes as long for one kind of secret as for another: Reparaz,
// Balasch and Verbauwhede, "Dude, is my code constant time?", 2017.
namespace choir::bench {

struct TimingFigure {
  std::string name;
  double t = 0;  // Welch's statistic of the two kinds' times; beyond 4.5 either way they differ
  uint64_t measurements = 0;
};

// Sharing and opening a secret (zero against random), comparing secrets (first byte wrong against
// last), opening a sealed share (tag wrong in its first byte against its last), masking. The last
// figure is a comparison that is known to leak, to show that the measurement would see it.
std::vector<TimingFigure> MeasureTiming(uint64_t measurements);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_SECURE_AGG_TIMING_H_
