#ifndef CHOIR_SECURE_AGG_SERVER_LIARS_H_
#define CHOIR_SECURE_AGG_SERVER_LIARS_H_

#include <cstdint>
#include <span>
#include <vector>

// Who lied, from what does not fit when a sum is opened. A share that is missing or wrong was dealt
// badly by the owner of its secret or changed by its holder, and nobody but these two can tell. But
// where no more than f nodes of a neighbourhood lie, whoever is at odds with more than f others is
// at odds with an honest one, and so a liar himself.
namespace choir::secagg {

// The holder answered without a share of the owner's secret, or with one that is not on the
// polynomial that opened it.
struct Mismatch {
  uint32_t holder = 0;  // places in the cohort
  uint32_t owner = 0;
};

// f: a threshold t of n holders promises its safety against fewer than 2t - n liars among them.
uint32_t MostLiars(uint32_t holders, uint32_t threshold);

// Sorted.
std::vector<uint32_t> LiarsAmong(std::span<const Mismatch> mismatches, uint32_t most_liars);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_SERVER_LIARS_H_
