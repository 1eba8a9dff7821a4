#ifndef CHOIR_SECURE_AGG_CORE_CODEC_H_
#define CHOIR_SECURE_AGG_CORE_CODEC_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/random.h"
#include "base/secret.h"
#include "privacy/noise_plan.h"
#include "secure-agg/core/messages.h"

// Turns one node's values into words of b bits, and a sum of words into a cohort's mean.
//
// w = min(examples, W)/W; v = w * delta * min(1, S/||w*delta||); x = floor(v*s + u), u uniform in
// [0, 1) from the rounding seed, s = Q/C, Q = 2^(q-1) - 1. E[x] = s*v, and |x - s*v| < 1: after
// division by s and by the total weight, the mean of n nodes is off by at most n*C/(Q*sum(w)) an
// element, with standard deviation at most sqrt(n)*C/(2*Q*sum(w)). Elements beyond C saturate.
//
// The vector is delta (d words), then 4 check words of value 1, then weight, clip bit, loss sum,
// token count and the strategy's extra slots. Each slot is a 48-bit signed fixed-point number, cut
// into limbs of q - 1 bits, one limb a word, so its sum is exact in any word size. Words are two's
// complement mod 2^b, packed little-endian without gaps.
//
// With differential privacy the scale s, the bound of the rounded norm and the noise come from
// PlanOf(). Rounding is drawn again until the norm keeps its bound; distributed noise is added to
// the d words (and, with a clip bit, to one word more, +-clip_bit) before masking. All that would
// tell of one node beside them is left out: the slots of loss, tokens and clip bit are zero, and
// every node weighs 1.
namespace choir::secagg {

inline constexpr uint32_t kCheckWords = 4;
inline constexpr uint32_t kFixedSlots = 4;
inline constexpr uint32_t kSlotBits = 48;
// Fraction bits of the slots: weight (0, 1], loss sum, extra slots.
inline constexpr uint32_t kWeightFractionBits = 32;
inline constexpr uint32_t kSlotFractionBits = 16;

struct CodecParams {
  uint64_t delta_length = 0;
  uint32_t extra_slots = 0;
  uint32_t word_bits = 32;
  uint32_t value_bits = 24;
  double range = 1;
  double clip_norm = 1;
  uint64_t max_weight = 1;
  PrivacyParams privacy = {};
  uint32_t min_cohort = 3;
  uint32_t max_cohort = 3;
  // The fewest nodes that a sum of this session can have (GraphShape.quorum, or min_cohort if that
  // is more): together they add all the noise that is promised. Only EncodeValues reads it, and
  // only under distributed noise.
  uint32_t assured = 0;
};

CodecParams CodecOf(const SessionConfig& config);
// INVALID_ARGUMENT for settings that PlanNoise refuses, and for mechanism kNone.
absl::StatusOr<privacy::NoisePlan> PlanOf(const CodecParams& params);
// What one session costs any node in it; infinite without noise.
absl::StatusOr<privacy::RdpCurve> CostOf(const CodecParams& params);
// m: words of one vector; and its bytes when packed.
uint64_t NumWords(const CodecParams& params);
uint64_t PackedBytes(const CodecParams& params);
// Q = 2^(q-1) - 1: the largest |word| that one honest node contributes.
int64_t MaxWord(const CodecParams& params);

// What one node puts into the sum.
struct ClientValues {
  std::span<const float> delta;    // delta_length
  uint64_t examples = 0;           // at least 1
  double loss_sum = 0;             // |loss_sum| < 2^31
  uint64_t token_count = 0;        // below 2^48
  std::span<const double> extras;  // extra_slots, each |value| < 2^31, resolution 2^-16
};

// The packed x. INVALID_ARGUMENT (kBadValues) for NaN, infinity, a wrong length, no examples or a
// slot out of range. Deterministic in its arguments: the seed gives rounding and noise.
absl::StatusOr<std::vector<uint8_t>> EncodeValues(const CodecParams& params,
                                                  const ClientValues& values,
                                                  const SecretBytes<32>& seed);

// What the coordinator learns of a cohort.
struct CohortSum {
  std::vector<float> mean_delta;  // sum of v / total_weight
  double total_weight = 0;        // sum of w, in (0, n]; times max_weight: examples counted
  uint32_t num_contributors = 0;
  uint64_t num_clipped = 0;  // 0 under differential privacy
  // The share of nodes that were not clipped; under noise perhaps beyond [0, 1]; nothing where it
  // is not summed.
  std::optional<double> unclipped_share;
  double loss_sum = 0;
  uint64_t token_count = 0;
  std::vector<double> extras;
};

// `packed` is the unmasked sum of `num_contributors` vectors. DATA_LOSS with kSumInconsistent if
// the check words do not count the contributors (masks did not cancel), kSumOutOfBound if a word is
// beyond num_contributors * Q (and the noise's room), or a slot beyond what they can say: each node
// weighs 1/W at least, so with W = 1 the total weight is their number.
absl::StatusOr<CohortSum> DecodeSum(const CodecParams& params, std::span<const uint8_t> packed,
                                    uint32_t num_contributors);

// With mechanism kCentralGaussian, before a sum is decoded for use: adds the coordinator's noise to
// its words, on the grid. With any other, does nothing.
absl::Status AddCentralNoise(const CodecParams& params, std::span<uint8_t> packed,
                             RandomSource& random);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_CODEC_H_
