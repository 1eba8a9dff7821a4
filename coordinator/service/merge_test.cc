// What a merge makes of cohorts' sums, good and bad, without rounds around it.
#include "coordinator/service/merge.h"

#include <sys/resource.h>

#include <cmath>
#include <csignal>

#include <gtest/gtest.h>

#include "base/file.h"
#include "coordinator/service/norm_bound.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/strategy/slices.h"
#include "proto/trust/documents.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/codec.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

// While it lives no file grows beyond `bytes`: writing fails, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = signal(SIGXFSZ, SIG_IGN);
};

class MergeTest : public testing::Test {
 protected:
  MergeTest() : federation_(dir_.path() + "/data", now_) {
    blobs_ = OpenDirectoryBlobStore(dir_.path() + "/blobs", 1 << 30).value();
    manifest_.set_federation_id(std::string(32, 'f'));
    config_ = CompleteRunConfig(TestRun(*blobs_, "fedavg", 1), manifest_, *blobs_, now_).value();
  }

  // A cohort of four whose nodes' values are all `value`, each encoded with this clip norm.
  MergeInput::Cohort Cohort(const std::string& id, float value, double clip_norm = 100) {
    secagg::CodecParams codec = secagg::CodecOf(
        SessionTemplate(config_, config_.num_values(), double{config_.aggregation().clip_norm()}));
    codec.clip_norm = clip_norm;
    codec.assured = 3;  // of four, the quorum
    const std::vector<float> delta(config_.num_values(), value);
    std::vector<uint8_t> sum;
    for (uint8_t node = 0; node < 4; ++node) AddNode(codec, node, delta, {}, sum);
    return CohortWith(id, sum);
  }
  // Two nodes that train component 0 by 1, and two that train component 1 by 3.
  MergeInput::Cohort SlicedCohort() {
    const secagg::CodecParams codec = secagg::CodecOf(
        SessionTemplate(config_, config_.num_values(), double{config_.aggregation().clip_norm()}));
    const std::vector<uint32_t> components =
        ComponentsOf(TestAdapter(), engine::Contribution::kBoth);
    std::vector<uint8_t> sum;
    for (uint8_t node = 0; node < 4; ++node) {
      const uint32_t mine = node % 2;
      std::vector<float> delta(components.size());
      for (size_t i = 0; i < delta.size(); ++i) {
        if (components[i] == mine) delta[i] = mine == 0 ? 1.0f : 3.0f;
      }
      const std::vector<double> slots = {mine == 0 ? 1.0 : 0.0, mine == 1 ? 1.0 : 0.0};
      AddNode(codec, node, delta, slots, sum);
    }
    return CohortWith("sliced", sum);
  }
  static void AddNode(const secagg::CodecParams& codec, uint8_t node,
                      const std::vector<float>& delta, const std::vector<double>& slots,
                      std::vector<uint8_t>& sum) {
    secagg::ClientValues values;
    values.delta = delta;
    values.examples = 1;
    values.extras = slots;
    std::array<uint8_t, 32> seed{};
    seed[0] = node;
    Add(secagg::EncodeValues(codec, values, SecretBytes<32>(seed)).value(), sum);
  }
  MergeInput::Cohort CohortWith(const std::string& id, const std::vector<uint8_t>& sum) {
    MergeInput::Cohort cohort;
    cohort.session_id = id;
    cohort.sum_path = dir_.path() + "/" + id;
    EXPECT_TRUE(AtomicWriteFile(cohort.sum_path, AsChars(sum)).ok());
    cohort.result.federation_id = config_.federation_id();
    cohort.result.run_id = config_.run_id();
    cohort.result.round = 1;
    cohort.result.session_id.fill(static_cast<uint8_t>(id[0]));
    cohort.result.sum_hash = Sha256Of(std::span<const uint8_t>(sum));
    cohort.result.contributors = {std::string(32, 'a'), std::string(32, 'b'), std::string(32, 'c'),
                                  std::string(32, 'd')};
    return cohort;
  }
  // sum += words, mod 2^32.
  static void Add(const std::vector<uint8_t>& words, std::vector<uint8_t>& sum) {
    if (sum.empty()) sum.resize(words.size());
    for (size_t i = 0; i < words.size(); i += 4) {
      uint32_t total = 0;
      for (size_t k = 4; k-- > 0;) total = total << 8 | sum[i + k];
      uint32_t more = 0;
      for (size_t k = 4; k-- > 0;) more = more << 8 | words[i + k];
      total += more;
      for (size_t k = 0; k < 4; ++k) sum[i + k] = static_cast<uint8_t>(total >> (8 * k));
    }
  }

  absl::StatusOr<MergeOutput> Merge(std::vector<MergeInput::Cohort> cohorts) {
    v1::AdapterVersion parent;
    parent.set_run_id(config_.run_id());
    parent.set_adapter_digest(config_.initial_adapter_digest());
    MergeInput input{config_,
                     trust::SignDocument(key_, trust::kAdapterDomain, parent),
                     1,
                     std::move(cohorts),
                     std::nullopt,
                     double{config_.aggregation().clip_norm()},
                     {},
                     now_};
    SystemRandom random;
    return MergeRound(input, key_, *blobs_, random);
  }
  // How far the first value of the merged adapter is from the start's.
  float Moved(const MergeOutput& output) {
    v1::SignedDocument document;
    EXPECT_TRUE(document.ParseFromString(output.version.document));
    v1::AdapterVersion version;
    EXPECT_TRUE(version.ParseFromString(document.body()));
    const Digest digest = DigestFrom(version.adapter_digest(), "adapter").value();
    return ReadAdapterBlob(*blobs_, digest)->pairs[0].a[0] - TestAdapter().pairs[0].a[0];
  }

  TempDir dir_;
  const absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  TestFederation federation_;
  SystemRandom random_;
  trust::SigningKey key_ = trust::SigningKey::Generate(random_);
  std::unique_ptr<BlobStore> blobs_;
  v1::Manifest manifest_;
  v1::RunConfig config_;
};

// Fixed point over a range of 100 in 29 bits, four roundings.
constexpr float kStep = 1e-5f;

TEST_F(MergeTest, MeanOfTwoCohorts) {
  const auto output = Merge({Cohort("x", 1.0f), Cohort("y", 3.0f)});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_NEAR(Moved(*output), 2.0f, kStep);
  EXPECT_EQ(output->contributors, 8u);
}

TEST_F(MergeTest, MedianIgnoresACohortOfLiars) {
  config_.mutable_aggregation()->set_combine("median");
  const auto output = Merge({Cohort("x", 1.0f), Cohort("y", -9.0f), Cohort("z", 1.5f)});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_NEAR(Moved(*output), 1.0f, kStep);
}

// 36 values of 20 have a norm of 120: words are within their bound, the sum's norm is not.
TEST_F(MergeTest, CohortAboveItsNormIsLeftOutAndNamed) {
  const auto output = Merge({Cohort("x", 1.0f), Cohort("liars", 20.0f, 1e6)});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_NEAR(Moved(*output), 1.0f, kStep);
  ASSERT_EQ(output->left_out.size(), 1u);
  EXPECT_EQ(output->left_out[0].first, "liars");
  EXPECT_EQ(secagg::ReasonOf(output->left_out[0].second), secagg::AbortReason::kSumOutOfBound);
  EXPECT_EQ(output->contributors, 4u);
}

// Under noise the bound leaves room for it: of a standard deviation of 29 in each of 36 values.
TEST_F(MergeTest, NoisedCohortAboveItsNormIsLeftOut) {
  for (const char* mechanism : {"discrete-gaussian", "skellam", "central-gaussian"}) {
    SCOPED_TRACE(mechanism);
    v1::RunConfig noised = TestRun(*blobs_, "fedavg", 1);
    noised.mutable_privacy()->set_mechanism(mechanism);
    noised.mutable_privacy()->set_noise_multiplier(0.25);
    noised.mutable_privacy()->set_delta(1e-6);
    config_ = CompleteRunConfig(noised, manifest_, *blobs_, now_).value();
    const auto honest = Merge({Cohort("honest", 20.0f)});
    ASSERT_TRUE(honest.ok()) << honest.status();
    // What a liar adds to each value after its clipping: a norm of 1200, where 800 or so is let go.
    const auto session = SessionTemplate(config_, config_.num_values(), 100);
    const double scale = secagg::PlanOf(secagg::CodecOf(session))->scale;
    for (const double more : {0.0, 200.0}) {
      MergeInput::Cohort cohort = Cohort("liars", 20.0f);
      std::vector<uint8_t> sum;
      const std::string bytes = ReadFile(cohort.sum_path, 1 << 20).value();
      Add({bytes.begin(), bytes.end()}, sum);
      std::vector<uint8_t> words(sum.size());
      const auto steps = static_cast<uint32_t>(more * scale);
      for (size_t i = 0; i < 4 * config_.num_values(); ++i) {
        words[i] = static_cast<uint8_t>(steps >> (8 * (i % 4)));
      }
      Add(words, sum);
      const auto output = Merge({CohortWith("liars", sum)});
      if (more == 0) {
        EXPECT_TRUE(output.ok()) << output.status();
      } else {
        EXPECT_EQ(secagg::ReasonOf(output.status()), secagg::AbortReason::kSumOutOfBound)
            << output.status();
      }
    }
  }
}

// The bound over what noise and values can be, at the size of a real adapter: an honest sum is as
// long as its noise, and a liar shows from some d^(1/4) times the noise's deviation on.
TEST_F(MergeTest, NoiseLeavesLittleRoomForALiar) {
  config_.mutable_privacy()->set_mechanism("discrete-gaussian");
  config_.mutable_privacy()->set_noise_multiplier(1);
  config_.mutable_privacy()->set_delta(1e-6);
  constexpr double kValues = 1e6;
  const auto session = SessionTemplate(config_, static_cast<uint64_t>(kValues), 100);
  const double norm = LargestNorm(session, 4).value();
  const double noise = 100 * std::sqrt(4.0 / 3.0) * std::sqrt(kValues);
  EXPECT_GT(norm, noise);
  EXPECT_LT(std::sqrt(norm * norm - noise * noise), 100 * 8 * std::pow(kValues, 0.25));
}

TEST_F(MergeTest, ClippedNodesStayWithinTheBound) {
  const auto output = Merge({Cohort("x", 20.0f)});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_NEAR(Moved(*output), 100.0f / 6.0f, 1e-4f);
  EXPECT_TRUE(output->left_out.empty());
}

// Half of the nodes train component 0, by 1, the others component 1, by 3: neither is halved.
TEST_F(MergeTest, SlicesAreDividedByWhatTrainedThem) {
  v1::RunConfig sliced = TestRun(*blobs_, "fedavg", 1);
  sliced.mutable_aggregation()->set_slices(true);
  config_ = CompleteRunConfig(sliced, manifest_, *blobs_, now_).value();
  EXPECT_EQ(config_.aggregation().slice_components(), 2u);
  const auto output = Merge({SlicedCohort()});
  ASSERT_TRUE(output.ok()) << output.status();
  v1::SignedDocument document;
  ASSERT_TRUE(document.ParseFromString(output->version.document));
  v1::AdapterVersion version;
  ASSERT_TRUE(version.ParseFromString(document.body()));
  const auto adapter =
      ReadAdapterBlob(*blobs_, DigestFrom(version.adapter_digest(), "adapter").value());
  const engine::Adapter start = TestAdapter();
  for (size_t p = 0; p < start.pairs.size(); ++p) {
    const auto cols = static_cast<size_t>(start.pairs[p].cols);
    EXPECT_NEAR(adapter->pairs[p].a[0] - start.pairs[p].a[0], 1.0f, kStep);
    EXPECT_NEAR(adapter->pairs[p].a[cols] - start.pairs[p].a[cols], 3.0f, kStep);
    EXPECT_NEAR(adapter->pairs[p].b[0], 1.0f, kStep);
    EXPECT_NEAR(adapter->pairs[p].b[1], 3.0f, kStep);
  }
}

TEST_F(MergeTest, OnlyBadCohortsIsTheirReason) {
  const auto output = Merge({Cohort("liars", 20.0f, 1e6)});
  EXPECT_EQ(secagg::ReasonOf(output.status()), secagg::AbortReason::kSumOutOfBound);
}

TEST_F(MergeTest, AdapterThatCannotBeWrittenHasItsOwnReason) {
  const MergeInput::Cohort cohort = Cohort("x", 1.0f);
  absl::Status merged;
  {
    const FileSizeLimit full(64);
    merged = Merge({cohort}).status();
  }
  EXPECT_EQ(secagg::ReasonOf(merged), secagg::AbortReason::kNotStored) << merged;
  EXPECT_TRUE(Merge({cohort}).ok());
}

}  // namespace
}  // namespace choir::coordinator
