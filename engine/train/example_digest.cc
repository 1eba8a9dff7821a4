#include "engine/train/example_digest.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace choir::engine {
namespace {

bool IsSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

Digest LooseOf(std::string_view text) {
  LooseHasher hasher;
  hasher.Update(text);
  return hasher.Finish();
}

// Both digests of several texts, which must not run into each other.
class PartsHasher {
 public:
  explicit PartsHasher(std::string_view form) { Add(form); }
  void Add(std::string_view text) {
    exact_.UpdateU64(text.size()).Update(text);
    loose_.Update(std::span<const uint8_t>(LooseOf(text)));
  }
  [[nodiscard]] ExampleDigest Finish() const { return {exact_.Finish(), loose_.Finish()}; }

 private:
  Sha256 exact_;
  Sha256 loose_;
};

// Where an example stands in the seed's order of all possible ones.
Digest KeyOf(uint64_t seed, const Digest& loose) {
  Sha256 hash;
  hash.Update(std::string_view("choir/held-out/v1"));
  hash.UpdateU64(seed);
  hash.Update(std::span<const uint8_t>(loose));
  return hash.Finish();
}

}  // namespace

ExampleDigest DigestOf(const Example& example) {
  if (example.form == Example::Form::kText) {
    return {Sha256Of(std::string_view(example.text)), LooseOf(example.text)};
  }
  if (example.form == Example::Form::kPromptCompletion) {
    PartsHasher parts("prompt");
    parts.Add(example.prompt);
    parts.Add(example.completion);
    parts.Add(example.text);
    return parts.Finish();
  }
  PartsHasher parts("messages");
  for (const ChatMessage& message : example.messages) {
    parts.Add(message.role);
    parts.Add(message.content);
  }
  parts.Add(example.text);
  return parts.Finish();
}

void LooseHasher::Update(std::string_view text) {
  while (!text.empty()) {
    const auto space = std::find_if(text.begin(), text.end(), IsSpace);
    const std::string_view word = text.substr(0, static_cast<size_t>(space - text.begin()));
    if (!word.empty()) {
      if (!in_word_ && any_word_) hash_.Update(std::string_view(" "));
      hash_.Update(word);
      any_word_ = true;
    }
    in_word_ = space == text.end();
    const auto next = std::find_if_not(space, text.end(), IsSpace);
    text.remove_prefix(static_cast<size_t>(next - text.begin()));
  }
}

absl::StatusOr<HeldOutSplit> HeldOutSplit::Choose(double fraction, uint64_t seed,
                                                  std::vector<Digest> loose) {
  if (!(fraction > 0 && fraction < 1)) {
    return absl::InvalidArgumentError(
        fmt::format("a held-out part of {} is outside 0..1 (both excluded)", fraction));
  }
  for (Digest& digest : loose) digest = KeyOf(seed, digest);
  std::sort(loose.begin(), loose.end());
  loose.erase(std::unique(loose.begin(), loose.end()), loose.end());
  if (loose.size() < 2) {
    return absl::InvalidArgumentError(
        fmt::format("{} different examples cannot be parted", loose.size()));
  }
  HeldOutSplit split;
  split.seed_ = seed;
  split.different_ = loose.size();
  const double wanted = std::round(fraction * static_cast<double>(loose.size()));
  split.held_out_ = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, loose.size() - 1);
  split.first_kept_ = loose[split.held_out_];
  return split;
}

bool HeldOutSplit::HoldsOut(const Digest& loose) const {
  return KeyOf(seed_, loose) < first_kept_;
}

}  // namespace choir::engine
