#include "engine/train/data_survey.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/train/example_digest.h"

namespace choir::engine {
namespace {

uint64_t BytesSaid(const Example& example) {
  switch (example.form) {
    case Example::Form::kText:
      return example.text.size();
    case Example::Form::kPromptCompletion:
      return example.prompt.size() + example.completion.size();
    case Example::Form::kMessages:
      break;
  }
  uint64_t bytes = 0;
  for (const ChatMessage& message : example.messages) bytes += message.content.size();
  return bytes;
}

}  // namespace

void LengthSurvey::Add(uint64_t length) {
  lengths_.push_back(
      static_cast<uint32_t>(std::min<uint64_t>(length, std::numeric_limits<uint32_t>::max())));
  total_ += length;
  sorted_ = false;
}

double LengthSurvey::Mean() const {
  return lengths_.empty() ? 0.0 : static_cast<double>(total_) / static_cast<double>(count());
}

uint64_t LengthSurvey::Quantile(double part) {
  if (lengths_.empty()) return 0;
  if (!sorted_) std::sort(lengths_.begin(), lengths_.end());
  sorted_ = true;
  const double rank = std::ceil(part * static_cast<double>(count()));
  return lengths_[static_cast<size_t>(std::clamp(rank, 1.0, static_cast<double>(count()))) - 1];
}

std::vector<std::pair<uint64_t, uint64_t>> LengthSurvey::Histogram() const {
  std::map<uint64_t, uint64_t> counts;
  for (const uint32_t length : lengths_) ++counts[std::bit_floor(std::max(length, 1u))];
  if (counts.empty()) return {};
  std::vector<std::pair<uint64_t, uint64_t>> bars;
  for (uint64_t from = counts.begin()->first; from <= counts.rbegin()->first; from *= 2) {
    bars.emplace_back(from, counts[from]);
  }
  return bars;
}

void DataSurvey::Add(const Example& example, const ExampleOrigin& origin) {
  File& file = files[origin.file];
  ++file.examples;
  file.bytes += origin.bytes;
  bytes.Add(BytesSaid(example));
  switch (example.form) {
    case Example::Form::kText:
      ++texts;
      break;
    case Example::Form::kPromptCompletion:
      ++pairs;
      break;
    case Example::Form::kMessages:
      ++conversations;
      break;
  }
  const ExampleDigest digest = DigestOf(example);
  if (!exact_.insert(digest.exact).second) ++exact_repeats;
  if (!loose_.insert(digest.loose).second) ++loose_repeats;
}

}  // namespace choir::engine
