#ifndef CHOIR_ENGINE_MODEL_WEIGHT_RESIDENCY_H_
#define CHOIR_ENGINE_MODEL_WEIGHT_RESIDENCY_H_

// Which weights stay in memory between their uses, where a backend reads them in place from the
// mapped file. What does not stay is fetched for each use and let go again: less memory, the same
// result. A backend that uploads its weights keeps all.

#include <cstdint>
#include <set>
#include <string_view>

#include "engine/model/model.h"

namespace choir::engine {

struct WeightResidency {
  static constexpr uint64_t kAll = ~uint64_t{0};

  // All weights but the vocabulary's tables: those at the end of the file that exceed this are
  // streamed.
  uint64_t block_bytes = kAll;
  // False: the rows that a table of embeddings was asked for are let go after each lookup. Costs
  // nothing to speak of. A table that is also the output stays if that does.
  bool embedding = true;
  // False: the output table is let go part by part as the loss passes over it. Costs each pass the
  // mapping of its pages.
  bool output = true;

  [[nodiscard]] bool streams_blocks() const { return block_bytes != kAll; }
};

// Names of the weights that do not stay. At most `block_bytes` of the others are in memory at a
// time: those that stay, and room for the largest of those on their way.
std::set<std::string_view> WeightsToStream(const Model& model, const WeightResidency& residency);

// All weights but the vocabulary's tables.
uint64_t BlockBytes(const Model& model);
// The smallest `block_bytes` that WeightsToStream can keep to.
uint64_t LeastBlockBytes(const Model& model);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_WEIGHT_RESIDENCY_H_
