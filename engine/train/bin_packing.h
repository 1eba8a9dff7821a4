#ifndef CHOIR_ENGINE_TRAIN_BIN_PACKING_H_
#define CHOIR_ENGINE_TRAIN_BIN_PACKING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"

namespace choir::engine {

// Puts things of these sizes into few bins of `capacity`; each is in 1 to capacity. Returns the
// numbers (places in `sizes`) in each bin.
//
// Best fit decreasing (Johnson 1974): the longest first, each into the fullest bin that has room;
// of equal sizes the earlier one first. That puts the long ones together and leaves what is as long
// as a third or a quarter of a bin to itself, so afterwards a few bins at random are emptied and
// filled again in random order, many times, and stay so where they come out fewer or less evenly
// full. Ends early where there can be no better packing.
//
// Deterministic: sizes, capacity and the state of `rng` alone decide.
std::vector<std::vector<uint32_t>> PackBins(std::span<const uint32_t> sizes, uint32_t capacity,
                                            SeededRng& rng);

// No packing has fewer bins (Martello and Toth 1990, bound L2): what is longer than half a bin
// meets no other of its kind, and fills up with what is shorter at best.
uint64_t FewestBins(std::span<const uint32_t> sizes, uint32_t capacity);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_BIN_PACKING_H_
