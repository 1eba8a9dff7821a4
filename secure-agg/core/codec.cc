#include "secure-agg/core/codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/noised_values.h"

namespace choir::secagg {
namespace {

constexpr double kSlotLimit =
    static_cast<double>(uint64_t{1} << (kSlotBits - kSlotFractionBits - 1));

uint32_t LimbBits(const CodecParams& params) {
  return params.value_bits - 1;
}

uint32_t LimbsPerSlot(const CodecParams& params) {
  return (kSlotBits + LimbBits(params) - 1) / LimbBits(params);
}

absl::Status BadValues(std::string_view detail) {
  return Refusal(AbortReason::kBadValues, detail);
}

bool IsPrivate(const CodecParams& params) {
  return params.privacy.mechanism != NoiseMechanism::kNone;
}

bool HasClipBit(const CodecParams& params) {
  return IsPrivate(params) && params.privacy.clip_bit_noise != 0;
}

// Writes words one after the other.
class WordWriter {
 public:
  WordWriter(std::vector<uint8_t>& out, uint32_t bits) : out_(out), bytes_(bits / 8) {}
  void Put(int64_t word) {
    const auto bits = static_cast<uint64_t>(word);
    for (uint32_t i = 0; i < bytes_; ++i) out_.push_back(static_cast<uint8_t>(bits >> (8 * i)));
  }

 private:
  std::vector<uint8_t>& out_;
  uint32_t bytes_;
};

// Reads words as two's complement.
class WordReader {
 public:
  WordReader(std::span<const uint8_t> packed, uint32_t bits) : rest_(packed), bits_(bits) {}
  int64_t Next() {
    uint64_t word = 0;
    for (uint32_t i = 0; i < bits_ / 8; ++i) word |= uint64_t{rest_[i]} << (8 * i);
    rest_ = rest_.subspan(bits_ / 8);
    const uint32_t unused = 64 - bits_;
    return static_cast<int64_t>(word << unused) >> unused;
  }

 private:
  std::span<const uint8_t> rest_;
  uint32_t bits_;
};

// The magnitude's limbs, each with the value's sign: sums of limbs recombine to the sum of values.
void PutSlot(WordWriter& writer, const CodecParams& params, int64_t value) {
  const uint32_t limb_bits = LimbBits(params);
  const int64_t sign = value < 0 ? -1 : 1;
  auto magnitude = static_cast<uint64_t>(value < 0 ? -value : value);
  for (uint32_t i = 0; i < LimbsPerSlot(params); ++i) {
    writer.Put(sign * static_cast<int64_t>(magnitude & ((uint64_t{1} << limb_bits) - 1)));
    magnitude >>= limb_bits;
  }
}

// What a checked sum of words says; the words are within their bound, so nothing overflows.
class SumReader {
 public:
  SumReader(const CodecParams& params, std::span<const uint8_t> packed, uint32_t contributors)
      : params_(params),
        words_(packed, params.word_bits),
        bound_(static_cast<int64_t>(contributors) * MaxWord(params)) {}

  int64_t Word() { return WordWithin(bound_); }
  int64_t WordWithin(int64_t bound) {
    const int64_t word = words_.Next();
    in_bound_ = in_bound_ && word >= -bound && word <= bound;
    return word;
  }
  // At most 2^48 * contributors in honest hands; a dishonest sum may wrap, and is refused by range.
  int64_t Slot() {
    uint64_t value = 0;
    for (uint32_t i = 0; i < LimbsPerSlot(params_); ++i) {
      value += static_cast<uint64_t>(Word()) << (i * LimbBits(params_));
    }
    return static_cast<int64_t>(value);
  }
  [[nodiscard]] bool in_bound() const { return in_bound_; }

 private:
  const CodecParams& params_;
  WordReader words_;
  int64_t bound_;
  bool in_bound_ = true;
};

absl::Status CheckValues(const CodecParams& params, const ClientValues& values) {
  if (values.delta.size() != params.delta_length) {
    return BadValues(fmt::format("the delta has {} values, the session wants {}",
                                 values.delta.size(), params.delta_length));
  }
  for (size_t i = 0; i < values.delta.size(); ++i) {
    if (!std::isfinite(values.delta[i])) {
      return BadValues(fmt::format("value {} of the delta is {}", i, values.delta[i]));
    }
  }
  if (values.examples == 0) return BadValues("a delta of no examples");
  if (!(std::abs(values.loss_sum) < kSlotLimit)) {
    return BadValues(fmt::format("the loss sum is {}", values.loss_sum));
  }
  if (values.token_count >= uint64_t{1} << (kSlotBits - 1)) {
    return BadValues(fmt::format("{} tokens do not fit their slot", values.token_count));
  }
  if (values.extras.size() != params.extra_slots) {
    return BadValues(fmt::format("{} extra values, the session wants {}", values.extras.size(),
                                 params.extra_slots));
  }
  for (const double extra : values.extras) {
    if (!(std::abs(extra) < kSlotLimit))
      return BadValues(fmt::format("an extra value is {}", extra));
  }
  return absl::OkStatus();
}

double WeightOf(const CodecParams& params, const ClientValues& values) {
  return static_cast<double>(std::min(values.examples, params.max_weight)) /
         static_cast<double>(params.max_weight);
}

double Norm(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += double{v} * double{v};
  return std::sqrt(sum);
}

// Uniform numbers in [0, 1) of 32 bits, from the rounding seed.
class RoundingSource {
 public:
  explicit RoundingSource(const SecretBytes<32>& seed) : stream_(Prg::kChaCha20, seed) {}
  double Next() {
    if (used_ == buffer_.size()) {
      stream_.Next(buffer_);
      used_ = 0;
    }
    uint32_t bits = 0;
    for (uint32_t i = 0; i < 4; ++i) bits |= uint32_t{buffer_[used_ + i]} << (8 * i);
    used_ += 4;
    return std::ldexp(static_cast<double>(bits), -32);
  }

 private:
  MaskStream stream_;
  std::array<uint8_t, 4096> buffer_{};
  size_t used_ = buffer_.size();
};

int64_t SlotValue(double value) {
  return std::llround(std::ldexp(value, kSlotFractionBits));
}

// The rest of a node's vector. Under differential privacy only what is the same for all.
void PutSlots(WordWriter& writer, const CodecParams& params, const ClientValues& values,
              double weight, bool clipped) {
  const bool tell = !IsPrivate(params);
  PutSlot(writer, params, std::llround(std::ldexp(weight, kWeightFractionBits)));
  PutSlot(writer, params, tell && clipped ? 1 : 0);
  PutSlot(writer, params, tell ? SlotValue(values.loss_sum) : 0);
  PutSlot(writer, params, tell ? static_cast<int64_t>(values.token_count) : 0);
  for (const double extra : values.extras) PutSlot(writer, params, SlotValue(extra));
}

absl::StatusOr<std::vector<int64_t>> PrivateWords(const CodecParams& params,
                                                  std::span<const float> delta, double factor,
                                                  bool clipped, const SecretBytes<32>& seed) {
  CHOIR_ASSIGN_OR_RETURN(const privacy::NoisePlan plan, PlanOf(params));
  const auto key = [&seed](std::string_view label) {
    return DeriveSecret(seed.Expose(), {}, label);
  };
  StreamSource rounding(key("choir/codec/rounding"));
  CHOIR_ASSIGN_OR_RETURN(std::vector<int64_t> words,
                         RoundedWords(plan, delta, factor, clipped, rounding));
  if (!privacy::IsDistributed(plan.mechanism)) return words;
  if (params.assured < params.min_cohort || params.assured > params.max_cohort) {
    return BadValues(fmt::format("{} nodes are assured, the session has {} to {}", params.assured,
                                 params.min_cohort, params.max_cohort));
  }
  StreamSource noise(key("choir/codec/noise"));
  AddNoise(plan, plan.LocalDeviation(params.assured), noise, words);
  return words;
}

// What the words of a sum may be, and what they are worth.
struct SumScale {
  int64_t bound = 0;  // of the noised words
  double step = 1;    // one unit of a word
  double clip_bit = 0;
};

absl::StatusOr<SumScale> ScaleOf(const CodecParams& params, uint32_t contributors) {
  const auto n = static_cast<int64_t>(contributors);
  if (!IsPrivate(params)) {
    return SumScale{n * MaxWord(params), params.range / static_cast<double>(MaxWord(params)), 0};
  }
  CHOIR_ASSIGN_OR_RETURN(const privacy::NoisePlan plan, PlanOf(params));
  const auto room = static_cast<int64_t>(std::ceil(plan.headroom));
  return SumScale{n * std::max(plan.max_word, plan.clip_bit) + room, 1 / plan.scale,
                  static_cast<double>(plan.clip_bit)};
}

void ReadSlots(SumReader& reader, const CodecParams& params, CohortSum& sum) {
  sum.total_weight = std::ldexp(static_cast<double>(reader.Slot()), -int{kWeightFractionBits});
  sum.num_clipped = static_cast<uint64_t>(reader.Slot());
  sum.loss_sum = std::ldexp(static_cast<double>(reader.Slot()), -int{kSlotFractionBits});
  sum.token_count = static_cast<uint64_t>(reader.Slot());
  for (uint32_t i = 0; i < params.extra_slots; ++i) {
    sum.extras.push_back(std::ldexp(static_cast<double>(reader.Slot()), -int{kSlotFractionBits}));
  }
}

}  // namespace

CodecParams CodecOf(const SessionConfig& config) {
  return {config.delta_length,
          config.extra_slots,
          config.word_bits,
          config.value_bits,
          config.codec_range,
          config.clip_norm,
          config.max_weight,
          config.privacy,
          config.min_cohort,
          config.max_cohort,
          0};
}

absl::StatusOr<privacy::NoisePlan> PlanOf(const CodecParams& params) {
  privacy::NoiseQuery query;
  query.mechanism = params.privacy.mechanism;
  query.noise_multiplier = params.privacy.noise_multiplier;
  query.clip_bit_noise = params.privacy.clip_bit_noise;
  query.clip_norm = params.clip_norm;
  query.range = params.range;
  query.values = params.delta_length;
  query.word_bits = params.word_bits;
  query.value_bits = params.value_bits;
  query.min_cohort = params.min_cohort;
  query.max_cohort = params.max_cohort;
  return privacy::PlanNoise(query);
}

absl::StatusOr<privacy::RdpCurve> CostOf(const CodecParams& params) {
  if (!IsPrivate(params)) return privacy::CostOf(privacy::NoisePlan(), params.max_cohort);
  CHOIR_ASSIGN_OR_RETURN(const privacy::NoisePlan plan, PlanOf(params));
  return privacy::CostOf(plan, params.max_cohort);
}

uint64_t NumWords(const CodecParams& params) {
  return params.delta_length + (HasClipBit(params) ? 1 : 0) + kCheckWords +
         uint64_t{kFixedSlots + params.extra_slots} * LimbsPerSlot(params);
}

uint64_t PackedBytes(const CodecParams& params) {
  return NumWords(params) * (params.word_bits / 8);
}

int64_t MaxWord(const CodecParams& params) {
  return (int64_t{1} << (params.value_bits - 1)) - 1;
}

absl::StatusOr<std::vector<uint8_t>> EncodeValues(const CodecParams& params,
                                                  const ClientValues& values,
                                                  const SecretBytes<32>& seed) {
  CHOIR_RETURN_IF_ERROR(CheckValues(params, values));
  const double weight = WeightOf(params, values);
  const double norm = weight * Norm(values.delta);
  const bool clipped = norm > params.clip_norm;
  const double factor = weight * (clipped ? params.clip_norm / norm : 1.0);

  std::vector<uint8_t> packed;
  packed.reserve(PackedBytes(params));
  WordWriter writer(packed, params.word_bits);
  if (IsPrivate(params)) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<int64_t> words,
                           PrivateWords(params, values.delta, factor, clipped, seed));
    for (const int64_t word : words) writer.Put(word);
  } else {
    const auto max_word = static_cast<double>(MaxWord(params));
    const double scale = factor * (max_word / params.range);
    RoundingSource rounding(seed);
    for (const float v : values.delta) {
      const double x = std::floor(double{v} * scale + rounding.Next());
      writer.Put(static_cast<int64_t>(std::clamp(x, -max_word, max_word)));
    }
  }
  for (uint32_t i = 0; i < kCheckWords; ++i) writer.Put(1);
  PutSlots(writer, params, values, weight, clipped);
  CHOIR_CHECK(packed.size() == PackedBytes(params));
  return packed;
}

namespace {

// The mean divides by the weight: who makes it small makes the others' updates large.
absl::Status CheckTotals(const CodecParams& params, const CohortSum& sum) {
  const auto nodes = static_cast<double>(sum.num_contributors);
  const double one = std::ldexp(1.0, kWeightFractionBits);
  const double least =
      nodes * static_cast<double>(std::llround(one / static_cast<double>(params.max_weight))) / one;
  if (sum.total_weight < least || !(sum.total_weight > 0) || sum.total_weight > nodes) {
    return Refusal(AbortReason::kSumOutOfBound,
                   fmt::format("a total weight of {}; {} nodes weigh {} to {}", sum.total_weight,
                               sum.num_contributors, least, nodes));
  }
  if (sum.num_clipped > sum.num_contributors || sum.token_count >= uint64_t{sum.num_contributors}
                                                                       << kSlotBits) {
    return Refusal(AbortReason::kSumOutOfBound,
                   fmt::format("{} clipped of {} nodes, {} tokens", sum.num_clipped,
                               sum.num_contributors, sum.token_count));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CohortSum> DecodeSum(const CodecParams& params, std::span<const uint8_t> packed,
                                    uint32_t num_contributors) {
  if (packed.size() != PackedBytes(params) || num_contributors == 0) {
    return absl::InvalidArgumentError(fmt::format("a sum of {} bytes from {} nodes, expected {}",
                                                  packed.size(), num_contributors,
                                                  PackedBytes(params)));
  }
  CHOIR_ASSIGN_OR_RETURN(const SumScale scale, ScaleOf(params, num_contributors));
  SumReader reader(params, packed, num_contributors);
  CohortSum sum;
  sum.num_contributors = num_contributors;
  for (uint64_t i = 0; i < params.delta_length; ++i) (void)reader.WordWithin(scale.bound);
  const auto nodes = static_cast<double>(num_contributors);
  if (HasClipBit(params)) {
    const auto word = static_cast<double>(reader.WordWithin(scale.bound));
    sum.unclipped_share = (word / scale.clip_bit / nodes + 1) / 2;
  }
  for (uint32_t i = 0; i < kCheckWords; ++i) {
    if (const int64_t count = reader.Word(); count != int64_t{num_contributors}) {
      return Refusal(
          AbortReason::kSumInconsistent,
          fmt::format("check word {} counts {} nodes, {} contributed", i, count, num_contributors));
    }
  }
  ReadSlots(reader, params, sum);
  if (!reader.in_bound()) {
    return Refusal(AbortReason::kSumOutOfBound, fmt::format("a word is beyond {} nodes' {} each",
                                                            num_contributors, MaxWord(params)));
  }
  CHOIR_RETURN_IF_ERROR(CheckTotals(params, sum));
  if (!IsPrivate(params)) {
    sum.unclipped_share = 1 - static_cast<double>(sum.num_clipped) / nodes;
  }
  // A second pass, now that the divisor is known: cheaper than keeping the words.
  WordReader words(packed, params.word_bits);
  const double step = scale.step / sum.total_weight;
  sum.mean_delta.reserve(params.delta_length);
  for (uint64_t i = 0; i < params.delta_length; ++i) {
    sum.mean_delta.push_back(static_cast<float>(static_cast<double>(words.Next()) * step));
  }
  return sum;
}

absl::Status AddCentralNoise(const CodecParams& params, std::span<uint8_t> packed,
                             RandomSource& random) {
  if (params.privacy.mechanism != NoiseMechanism::kCentralGaussian) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const privacy::NoisePlan plan, PlanOf(params));
  if (packed.size() != PackedBytes(params)) {
    return absl::InvalidArgumentError(
        fmt::format("a sum of {} bytes, expected {}", packed.size(), PackedBytes(params)));
  }
  std::vector<int64_t> noise(plan.noised_words);
  AddNoise(plan, plan.deviation, random, noise);
  std::vector<uint8_t> words;
  words.reserve(noise.size() * (params.word_bits / 8));
  WordWriter writer(words, params.word_bits);
  for (const int64_t word : noise) writer.Put(word);
  AddWords(packed.first(words.size()), words, params.word_bits);
  return absl::OkStatus();
}

}  // namespace choir::secagg
