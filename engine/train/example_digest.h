#ifndef CHOIR_ENGINE_TRAIN_EXAMPLE_DIGEST_H_
#define CHOIR_ENGINE_TRAIN_EXAMPLE_DIGEST_H_

// What an example says, as a digest: for finding duplicates, and for holding examples out.

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "base/sha256.h"
#include "engine/train/example.h"

namespace choir::engine {

// `exact` is the SHA-256 of a plain text, and of all parts with their lengths in the other forms.
// `loose` is the same of texts whose white space is reduced to single spaces between words: equal
// for examples that differ only in line breaks or indents.
struct ExampleDigest {
  Digest exact{};
  Digest loose{};
};
ExampleDigest DigestOf(const Example& example);

// Folds white space (of ASCII) over pieces of a text: "  a\n\n b" hashes as "a b", however it is
// cut.
class LooseHasher {
 public:
  void Update(std::string_view text);
  [[nodiscard]] Digest Finish() const { return hash_.Finish(); }

 private:
  Sha256 hash_;
  bool any_word_ = false;
  bool in_word_ = false;
};

// Which examples of a data set are kept for evaluation: a part of all different ones (by loose
// digest), chosen by seed. Two examples that say the same are never on different sides, whatever
// their order, and adding examples moves few of the old ones.
class HeldOutSplit {
 public:
  // `loose`: of all examples, in any order, repeats welcome. `fraction` of the different ones is
  // held out: at least one, never all. INVALID_ARGUMENT: a fraction outside 0..1 (both excluded),
  // or fewer than two different examples.
  static absl::StatusOr<HeldOutSplit> Choose(double fraction, uint64_t seed,
                                             std::vector<Digest> loose);

  [[nodiscard]] bool HoldsOut(const Digest& loose) const;
  [[nodiscard]] uint64_t different() const { return different_; }
  [[nodiscard]] uint64_t held_out() const { return held_out_; }

 private:
  uint64_t seed_ = 0;
  Digest first_kept_{};  // keys below it are held out
  uint64_t different_ = 0;
  uint64_t held_out_ = 0;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_EXAMPLE_DIGEST_H_
