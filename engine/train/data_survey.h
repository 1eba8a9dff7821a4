#ifndef CHOIR_ENGINE_TRAIN_DATA_SURVEY_H_
#define CHOIR_ENGINE_TRAIN_DATA_SURVEY_H_

// What a data set holds, before anything is trained on it: counts, lengths, repeats.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"

#include "base/sha256.h"
#include "engine/train/dataset.h"

namespace choir::engine {

// Lengths of examples in some unit, exact: four bytes are kept for each of them.
class LengthSurvey {
 public:
  void Add(uint64_t length);

  [[nodiscard]] uint64_t count() const { return lengths_.size(); }
  [[nodiscard]] uint64_t total() const { return total_; }
  [[nodiscard]] double Mean() const;
  // The length that `part` (0..1) of the examples do not exceed, by the nearest rank; 0 of none.
  // Sorts.
  uint64_t Quantile(double part);
  // How many lengths lie in [2^k, 2^(k+1)), for each k from the first such range to the last; a
  // length of 0 counts as 1.
  [[nodiscard]] std::vector<std::pair<uint64_t, uint64_t>> Histogram() const;

 private:
  std::vector<uint32_t> lengths_;
  uint64_t total_ = 0;
  bool sorted_ = true;
};

// Counts examples as VisitExamples finds them. 64 bytes are kept of each different one.
class DataSurvey {
 public:
  struct File {
    uint64_t examples = 0;
    uint64_t bytes = 0;
    uint64_t unusable_lines = 0;
  };

  void Add(const Example& example, const ExampleOrigin& origin);

  LengthSurvey bytes;  // of what the examples say, without JSON around it
  std::map<std::string, File> files;
  uint64_t texts = 0;
  uint64_t pairs = 0;  // of prompt and completion
  uint64_t conversations = 0;
  uint64_t exact_repeats = 0;  // examples that say what an earlier one said
  uint64_t loose_repeats = 0;  // the same but for white space, those above included

 private:
  absl::flat_hash_set<Digest> exact_;
  absl::flat_hash_set<Digest> loose_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_DATA_SURVEY_H_
