#ifndef CHOIR_ENGINE_INFER_CHOICE_SCORER_H_
#define CHOIR_ENGINE_INFER_CHOICE_SCORER_H_

// Which of a few answers a model holds likeliest, and how often that is the right one.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/infer/cached_model.h"
#include "engine/infer/choice_items.h"

namespace choir::engine {

struct ChoiceScore {
  double log_likelihood = 0;  // natural; of all the choice's tokens, given the prompt
  size_t tokens = 0;
  [[nodiscard]] double PerToken() const { return log_likelihood / static_cast<double>(tokens); }
};

// One score a choice. The prompt goes through the model once, whatever the number of choices.
// INVALID_ARGUMENT if prompt and choice do not fit the context; OUT_OF_RANGE if a score is no
// number.
absl::StatusOr<std::vector<ChoiceScore>> ScoreChoices(CachedModel& model,
                                                      const ChoiceTokens& tokens);

// The choice with the highest sum, or the highest mean a token; the first of equals.
size_t LikeliestBySum(std::span<const ChoiceScore> scores);
size_t LikeliestPerToken(std::span<const ChoiceScore> scores);

// How predictions met answers: a confusion matrix, and what follows from it.
class ChoiceTally {
 public:
  explicit ChoiceTally(size_t num_choices)
      : num_choices_(num_choices), counts_(num_choices * num_choices) {}

  void Add(size_t answer, size_t predicted) { ++counts_[answer * num_choices_ + predicted]; }

  [[nodiscard]] uint64_t Count(size_t answer, size_t predicted) const {
    return counts_[answer * num_choices_ + predicted];
  }
  [[nodiscard]] uint64_t Answers(size_t choice) const;    // items with this answer
  [[nodiscard]] uint64_t Predicted(size_t choice) const;  // items given this prediction
  [[nodiscard]] uint64_t total() const;
  [[nodiscard]] double Accuracy() const;
  // The mean F1 of the choices that occur as an answer or a prediction, each counted equally; a
  // choice that is never right has 0 (as scikit-learn's f1_score does with average="macro").
  [[nodiscard]] double MacroF1() const;
  // What always giving the most frequent answer would have reached.
  [[nodiscard]] ChoiceTally MajorityBaseline() const;
  [[nodiscard]] size_t MajorityChoice() const;

 private:
  size_t num_choices_;
  std::vector<uint64_t> counts_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_CHOICE_SCORER_H_
