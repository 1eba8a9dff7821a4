#ifndef CHOIR_CLI_DEMO_DATA_H_
#define CHOIR_CLI_DEMO_DATA_H_

// Who gets which texts in the demo. Dealing and splitting are pure.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir::cli {

using Records = std::vector<std::string>;  // a line of JSONL each

// One person's texts, and those of them that are kept back to measure with.
struct DemoTexts {
  std::string name;
  Records train;
  Records held_out;
};

inline constexpr size_t kMinDemoNodes = 3;
inline constexpr size_t kMaxDemoNodes = 16;
inline constexpr size_t kDefaultDemoNodes = 4;

// How many nodes the sources make, where the user did not say.
size_t DemoNodesFor(size_t sources);

// Deals the sources out to nodes: whole ones while there are enough, else all records of all
// sources in equal stretches. Names are one source's, or "node-1", ... INVALID_ARGUMENT if a node
// would get nothing.
absl::StatusOr<std::vector<DemoTexts>> DealTexts(std::vector<DemoTexts> sources, size_t nodes);

// Keeps every tenth record back, 40 at most and at least one, where nothing is kept back yet.
// INVALID_ARGUMENT for fewer than two records.
absl::Status HoldOut(DemoTexts& texts);

// The beginning of a record's text, for the model to continue: its first sentence, or the prompt of
// a record that has one. Empty if the record has no text.
std::string PromptOf(std::string_view record);

// Reads a folder: one source for each sub-folder (test.jsonl in it is held out), or, without
// sub-folders, for each file (NAME.test.jsonl is held out for NAME.train.jsonl). JSONL has a record
// a line; of .txt and .md, each paragraph is one.
absl::StatusOr<std::vector<DemoTexts>> ReadDemoSources(const std::string& folder);

// Writes a file of records, a line each.
absl::Status WriteRecords(const std::string& path, const Records& records);

}  // namespace choir::cli

#endif  // CHOIR_CLI_DEMO_DATA_H_
