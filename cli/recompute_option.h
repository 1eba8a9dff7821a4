#ifndef CHOIR_CLI_RECOMPUTE_OPTION_H_
#define CHOIR_CLI_RECOMPUTE_OPTION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "engine/graph/kept_activations.h"
#include "engine/train/training_plan.h"

namespace choir::cli {

// --recompute: a level by its name; `name` holds the default.
void AddRecomputeOption(CLI::App& app, std::string& name, const char* group);
// Of a name that the option let pass.
engine::Recompute RecomputeOf(std::string_view name);

// What a plan chose, for people ("selective, packed, 3 of 28 blocks recomputed"; "" where all is
// kept) and for JSON ("all", "selective", "packed").
std::string DescribeKept(engine::KeptActivations kept, int64_t recomputed_blocks, int64_t blocks);
std::string_view NameOf(engine::KeptActivations kept);

}  // namespace choir::cli

#endif  // CHOIR_CLI_RECOMPUTE_OPTION_H_
