#include "engine/infer/choice_scorer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

double LogProbability(std::span<const float> logits, int32_t id) {
  const auto max = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  return static_cast<double>(logits[static_cast<size_t>(id)]) - max - std::log(sum);
}

size_t IndexOfLargest(std::span<const ChoiceScore> scores,
                      const std::function<double(const ChoiceScore&)>& value) {
  const auto best = std::max_element(
      scores.begin(), scores.end(),
      [&value](const ChoiceScore& a, const ChoiceScore& b) { return value(a) < value(b); });
  return static_cast<size_t>(best - scores.begin());
}

}  // namespace

absl::StatusOr<std::vector<ChoiceScore>> ScoreChoices(CachedModel& model,
                                                      const ChoiceTokens& tokens) {
  CHOIR_ASSIGN_OR_RETURN(const std::span<const float> after_prompt, model.Logits(tokens.prompt));
  const std::vector<float> prompt_logits(after_prompt.begin(), after_prompt.end());
  std::vector<ChoiceScore> scores;
  for (const std::vector<int32_t>& choice : tokens.choices) {
    ChoiceScore score{.log_likelihood = 0, .tokens = choice.size()};
    std::vector<int32_t> text = tokens.prompt;
    std::span<const float> logits = prompt_logits;
    CHOIR_RETURN_IF_ERROR(model.model().CheckTokens(choice));
    for (size_t i = 0; i < choice.size(); ++i) {
      if (i > 0) {
        text.push_back(choice[i - 1]);
        CHOIR_ASSIGN_OR_RETURN(logits, model.Logits(text));
      }
      score.log_likelihood += LogProbability(logits, choice[i]);
    }
    if (!std::isfinite(score.log_likelihood)) {
      return absl::OutOfRangeError("a score is not a number: the model or adapter is damaged");
    }
    scores.push_back(score);
  }
  return scores;
}

size_t LikeliestBySum(std::span<const ChoiceScore> scores) {
  return IndexOfLargest(scores, [](const ChoiceScore& score) { return score.log_likelihood; });
}

size_t LikeliestPerToken(std::span<const ChoiceScore> scores) {
  return IndexOfLargest(scores, [](const ChoiceScore& score) { return score.PerToken(); });
}

uint64_t ChoiceTally::Answers(size_t choice) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < num_choices_; ++i) sum += Count(choice, i);
  return sum;
}

uint64_t ChoiceTally::Predicted(size_t choice) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < num_choices_; ++i) sum += Count(i, choice);
  return sum;
}

uint64_t ChoiceTally::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0});
}

double ChoiceTally::Accuracy() const {
  uint64_t right = 0;
  for (size_t i = 0; i < num_choices_; ++i) right += Count(i, i);
  const uint64_t all = total();
  return all == 0 ? 0 : static_cast<double>(right) / static_cast<double>(all);
}

double ChoiceTally::MacroF1() const {
  double sum = 0;
  int occurring = 0;
  for (size_t i = 0; i < num_choices_; ++i) {
    // F1 = 2 tp / (2 tp + fp + fn)
    const uint64_t either = Answers(i) + Predicted(i);
    if (either == 0) continue;
    ++occurring;
    sum += 2 * static_cast<double>(Count(i, i)) / static_cast<double>(either);
  }
  return occurring == 0 ? 0 : sum / occurring;
}

size_t ChoiceTally::MajorityChoice() const {
  size_t best = 0;
  for (size_t i = 1; i < num_choices_; ++i) {
    if (Answers(i) > Answers(best)) best = i;
  }
  return best;
}

ChoiceTally ChoiceTally::MajorityBaseline() const {
  ChoiceTally baseline(num_choices_);
  const size_t choice = MajorityChoice();
  for (size_t i = 0; i < num_choices_; ++i)
    baseline.counts_[i * num_choices_ + choice] = Answers(i);
  return baseline;
}

}  // namespace choir::engine
