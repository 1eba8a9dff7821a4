#ifndef CHOIR_BENCH_SECURE_AGG_PARTS_H_
#define CHOIR_BENCH_SECURE_AGG_PARTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "secure-agg/core/messages.h"

// The parts of secure aggregation that cost time, each beside the bare key stream or the bare
// memory in the same run, so that what is said is a ratio.
namespace choir::bench {

struct PartsShape {
  uint64_t mask_words = 10'000'000;  // of the masking and the ingest
  uint64_t unmask_words = 1'000'000;
  uint32_t nodes = 100;
  uint32_t dropped = 10;
  size_t threads = 1;
};

struct PartFigure {
  std::string name;
  double gigabytes_per_second = 0;
  // Of the key stream on as many threads, or of the memory's bandwidth; 0 for what is compared
  // with.
  double share = 0;
};

// One node's masking and the coordinator's unmasking with one generator.
std::vector<PartFigure> MeasureMasking(const PartsShape& shape, secagg::Prg prg);
// Adding a masked vector, and hashing it first, against a copy of as many bytes.
std::vector<PartFigure> MeasureIngest(const PartsShape& shape);
// Bytes that a node sends beyond its bare packed vector, in percent of it.
double UploadExpansionPercent(uint64_t words, uint32_t nodes);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_SECURE_AGG_PARTS_H_
