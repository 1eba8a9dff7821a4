// A node that lies, over gRPC: three honest nodes and one liar with real keys, real calls over
// mTLS, the whole coordinator. Each lie is refused by its own reason, the others' sum stays exact,
// and nothing is left behind.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include <gmock/gmock.h>
#include <grpc/grpc.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "coordinator/service/run_actor.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/server.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/service/test_lying_node.h"
#include "engine/lora/contribution.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/chunks.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

using testing::IsEmpty;
using HangUp = LyingCalls::HangUp;
using Lies = LyingCalls::Lies;

constexpr uint64_t kLiar = 3;
constexpr int64_t kStageWaitS = 10;
constexpr absl::Duration kPatience = absl::Minutes(2);
const std::string kStranger(32, '\xff');

// The system's clock, which a test may put forward.
class ForwardClock final : public Clock {
 public:
  [[nodiscard]] absl::Time Now() const override {
    return absl::Now() + absl::Seconds(seconds_.load());
  }
  void Advance(int64_t by_seconds) { seconds_ += by_seconds; }

 private:
  std::atomic<int64_t> seconds_ = 0;
};

// Knows whether its node only waits for others.
class WatchedCalls final : public NodeCalls {
 public:
  explicit WatchedCalls(std::unique_ptr<RemoteCalls> calls) : calls_(std::move(calls)) {}
  [[nodiscard]] bool waiting() const { return waiting_; }
  [[nodiscard]] uint64_t count() const { return count_; }

  absl::StatusOr<v1::CheckInResponse> CheckIn() override {
    ++count_;
    return calls_->CheckIn();
  }
  absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) override {
    waiting_ = true;
    auto config = calls_->Join(request);
    waiting_ = false;
    if (!config.ok() || config->has_value()) ++count_;
    return config;
  }
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) override {
    waiting_ = true;
    auto broadcast = calls_->Poll(request);
    waiting_ = false;
    if (!broadcast.ok() || broadcast->has_value()) ++count_;
    return broadcast;
  }
  absl::Status Send(const v1::SessionMessage& message) override {
    ++count_;
    return calls_->Send(message);
  }
  absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) override {
    ++count_;
    return calls_->Upload(stream);
  }

 private:
  const std::unique_ptr<RemoteCalls> calls_;
  std::atomic<bool> waiting_ = false;
  std::atomic<uint64_t> count_ = 0;
};

class LiarTest : public testing::Test {
 protected:
  LiarTest() : federation_(dir_.path() + "/data", absl::Now()) {
    spdlog::set_level(spdlog::level::off);
    ServerOptions options;
    options.data = federation_.folder().path;
    options.listen = "127.0.0.1:0";
    options.enrol_listen = "127.0.0.1:0";
    server_ = Server::Start(options, clock_, random_).value();
    operator_identity_ = federation_.Operator();
    operator_ = std::make_unique<RemoteOperator>(Channel(operator_identity_));
    blobs_ = OpenDirectoryBlobStore(federation_.folder().Blobs(), 1 << 30).value();
  }
  static void SetUpTestSuite() { grpc_init(); }

  std::shared_ptr<grpc::Channel> Channel(const rpc::TlsIdentity& identity) {
    return rpc::OpenChannel(server_->address(), federation_.root_pem(), &identity);
  }
  std::unique_ptr<RemoteCalls> Enrol(TestNode& node) {
    const v1::EnrolResponse response = EnrolAt(server_->enrol_address(), federation_.root_pem(),
                                               node.EnrolRequest(operator_->Token()));
    node.Joined(response);
    return std::make_unique<RemoteCalls>(
        Channel({response.certificate_chain_pem(), node.key().ToPkcs8Pem()}));
  }
  void Start(uint32_t rounds) {
    v1::RunConfig config = TestRun(*blobs_, "fedavg", rounds);
    config.mutable_pacing()->set_stage_wait_s(kStageWaitS);
    federation_id_ = operator_->StartRun(config).config().federation_id();
    for (uint64_t i = 0; i < kLiar; ++i) {
      nodes_.push_back(std::make_unique<TestNode>(i, federation_id_, random_));
      honest_.push_back(std::make_unique<WatchedCalls>(Enrol(*nodes_.back())));
    }
    nodes_.push_back(std::make_unique<TestNode>(kLiar, federation_id_, random_));
    liar_ = std::make_unique<LyingCalls>(Enrol(*nodes_[kLiar]), *nodes_[kLiar]);
  }

  // Everybody steps until the run is over. Once the liar is gone and the others only wait, their
  // stage's time is over. `each` runs before each of the liar's steps, in its thread.
  void Play(const std::function<void()>& each = [] {}) {
    std::atomic<bool> over = false;
    std::atomic<bool> liar_gone = false;
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kLiar; ++i) {
      threads.emplace_back([&, i] {
        while (!over) {
          const absl::StatusOr<bool> moved = nodes_[i]->Step(*honest_[i], clock_.Now());
          EXPECT_TRUE(moved.ok() || over) << "node " << i << ": " << moved.status();
          if (!moved.ok()) return;
          if (!*moved) absl::SleepFor(absl::Milliseconds(5));
        }
      });
    }
    threads.emplace_back([&] {
      for (bool stays = true; !over && stays;) {
        each();
        const absl::StatusOr<bool> moved = nodes_[kLiar]->Step(*liar_, clock_.Now());
        stays = moved.ok();
        if (!stays) liars_end_ = moved.status();
        if (stays && !*moved) absl::SleepFor(absl::Milliseconds(5));
      }
      liar_gone = true;
    });
    const absl::Time limit = absl::Now() + kPatience;
    uint64_t last = 0;
    absl::Time since = absl::Now();
    while (Status().state() == "running" && absl::Now() < limit) {
      absl::SleepFor(absl::Milliseconds(20));
      uint64_t count = 0;
      bool waiting = liar_gone;
      for (const auto& calls : honest_) {
        count += calls->count();
        waiting = waiting && calls->waiting();
      }
      if (!waiting || count != last) since = absl::Now();
      last = count;
      if (absl::Now() - since < absl::Milliseconds(500)) continue;
      clock_.Advance(kStageWaitS + 1);
      since = absl::Now();
    }
    over = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(Status().state(), "finished");
  }

  v1::RunStatus Status() { return operator_->GetRun("demo"); }

  // The contributors to the last version, after a look at its every value: the start and the exact
  // mean of what they meant to give in the rounds so far.
  std::vector<uint64_t> ExactContributors(uint64_t versions) {
    const v1::ListAdapterVersionsResponse listed = operator_->ListVersions("demo");
    EXPECT_EQ(listed.versions_size(), static_cast<int>(versions) + 1);
    v1::AdapterVersion version;
    EXPECT_TRUE(version.ParseFromString(listed.versions().rbegin()->body()));
    std::vector<float> wanted =
        engine::FlattenFactors(TestAdapter(), engine::TrainedFactors::kBoth);
    std::vector<uint64_t> contributors;
    for (int v = 0; v < listed.round_results_size(); ++v) {
      const auto result = secagg::DecodeRoundResult(AsBytes(listed.round_results(v))).value();
      contributors.clear();
      for (uint64_t i = 0; i < nodes_.size(); ++i) {
        if (std::ranges::count(result.contributors, nodes_[i]->id()) > 0) contributors.push_back(i);
      }
      EXPECT_EQ(contributors.size(), result.contributors.size());
      for (size_t k = 0; k < wanted.size(); ++k) {
        float sum = 0;
        for (const uint64_t i : contributors) {
          sum += TestNode::Delta(i, static_cast<uint64_t>(v), k);
        }
        wanted[k] += sum / static_cast<float>(contributors.size());
      }
    }
    const Digest digest = DigestFrom(version.adapter_digest(), "adapter").value();
    const std::vector<float> found = engine::FlattenFactors(
        ReadAdapterBlob(*blobs_, digest).value(), engine::TrainedFactors::kBoth);
    EXPECT_THAT(found, testing::Pointwise(testing::FloatNear(4e-5f), wanted));
    return contributors;
  }
  // What the coordinator wrote down about one node's shares. Ends the server.
  bool NamedLiar(const std::string& id) {
    server_.reset();
    const auto store = StoreKinds()[0].open(federation_.folder().Database()).value();
    const std::vector<EventRecord> events = store->ListEvents(1000).value();
    return std::ranges::any_of(events, [&](const EventRecord& event) {
      return event.text.find("node_lied_about_shares") != std::string::npos &&
             event.text.find("node=" + ShortId(id)) != std::string::npos;
    });
  }
  // No masked input and no sum outlives its round.
  std::vector<std::string> LeftInSpool() {
    std::vector<std::string> left;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(federation_.folder().Spool())) {
      if (entry.is_regular_file()) left.push_back(entry.path());
    }
    return left;
  }
  static std::string NameOf(const absl::Status& status) {
    const auto reason = secagg::ReasonOf(status);
    return reason.has_value() ? std::string(secagg::AbortReasonName(*reason)) : status.ToString();
  }

  TempDir dir_;
  ForwardClock clock_;
  SystemRandom random_;
  TestFederation federation_;
  std::unique_ptr<Server> server_;
  rpc::TlsIdentity operator_identity_;
  std::unique_ptr<RemoteOperator> operator_;
  std::unique_ptr<BlobStore> blobs_;
  std::string federation_id_;
  std::vector<std::unique_ptr<TestNode>> nodes_;  // the last one lies
  std::vector<std::unique_ptr<WatchedCalls>> honest_;
  std::unique_ptr<LyingCalls> liar_;
  absl::Status liars_end_;
};

// ---- One lie each ----------------------------------------------------------------------------

enum class Sum : uint8_t {
  kOfAll,         // the liar mended its ways, or did no harm
  kOfTheOthers,   // the liar is left out
  kOfALaterRound  // the round was abandoned, by the reason; the next one works
};

struct Case {
  const char* name;
  const char* reason;  // of the refusal, or of the abandoned round; "" for neither
  Sum sum;
  void (*lie)(Lies& lies);
  size_t contributors = 4;
};
void PrintTo(const Case& test, std::ostream* out) {
  *out << test.name;
}

class LieTest : public LiarTest, public testing::WithParamInterface<Case> {};

TEST_P(LieTest, IsRefusedByItsOwnReasonAndTheSumStaysExact) {
  const Case& test = GetParam();
  Start(1);
  test.lie(liar_->lies);
  Play();
  ASSERT_EQ(Status().state(), "finished");
  const std::vector<uint64_t> contributors = ExactContributors(1);
  EXPECT_EQ(contributors.size(), test.sum == Sum::kOfTheOthers ? 3 : test.contributors);
  EXPECT_THAT(LeftInSpool(), IsEmpty());
  const v1::RunStatus status = Status();
  if (test.sum == Sum::kOfALaterRound) {
    ASSERT_EQ(status.rounds_size(), 2);
    EXPECT_EQ(status.rounds(0).phase(), "abandoned");
    EXPECT_EQ(status.rounds(0).reason(), test.reason) << status.rounds(0).reason_text();
    return;
  }
  EXPECT_EQ(status.rounds_size(), 1);
  if (*test.reason == '\0') {
    EXPECT_THAT(liar_->refusals(), IsEmpty());
    return;
  }
  ASSERT_EQ(liar_->refusals().size(), 1u) << liars_end_;
  EXPECT_EQ(NameOf(liar_->refusals()[0]), test.reason) << liar_->refusals()[0];
}

void Raw(Lies& lies, uint8_t kind, void (*change)(v1::SessionMessage&)) {
  lies.raw_kind = kind;
  lies.raw = change;
}
// Adds to words of y, and so to words of the sum.
void AddTo(std::vector<uint8_t>& packed, size_t word, size_t count, int64_t more) {
  for (size_t i = word; i < word + count; ++i) {
    uint32_t value = 0;
    for (size_t k = 4; k-- > 0;) value = value << 8 | packed[4 * i + k];
    value += static_cast<uint32_t>(more);
    for (size_t k = 0; k < 4; ++k) packed[4 * i + k] = static_cast<uint8_t>(value >> (8 * k));
  }
}
// 36 values, 4 check words, then slots of two limbs: the weight's first. A range of 100 in 29 bits.
constexpr size_t kValues = 36;
constexpr size_t kWeightHigh = kValues + 4 + 1;  // in sixteenths
constexpr int64_t kOne = ((int64_t{1} << 28) - 1) / 100;

const Case kKeyLies[] = {
    {"KeysWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.keys = [](secagg::AdvertiseKeys& k) { k.nonce[0] ^= 1; };
     }},
    {"KeysOfAnotherSession", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.session_id[0] ^= 1; }; }},
    {"KeysInAnothersName", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.node_id = kStranger; }; }},
    {"KeyOfLowOrder", "low-order-key", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.mask_key = {1}; }; }},
    {"KeyInASecondSpelling", "low-order-key", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.share_key[31] |= 0x80; }; }},
    {"OneKeyForTwoPurposes", "repeated-key", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.mask_key = k.share_key; }; }},
    {"MessageForAnotherSession", "foreign-session", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 2, [](v1::SessionMessage& m) { m.set_session_id(std::string(16, 'x')); });
     }},
    {"MessageOfNoKind", "malformed-message", Sum::kOfAll,
     [](Lies& l) { Raw(l, 2, [](v1::SessionMessage& m) { m.set_kind(3); }); }},
    {"MessageCutShort", "malformed-message", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 2, [](v1::SessionMessage& m) { m.mutable_body()->resize(m.body().size() - 1); });
     }},
    {"MessageTooLong", "malformed-message", Sum::kOfAll,
     [](Lies& l) { Raw(l, 2, [](v1::SessionMessage& m) { m.mutable_body()->push_back('x'); }); }},
    {"AnswerBeforeItsTime", "unexpected-message", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 2, [](v1::SessionMessage& m) {
         const auto keys = secagg::DecodeAdvertiseKeys(AsBytes(m.body())).value();
         const secagg::ConsistencySignature early{keys.session_id, keys.node_id, {}, {}};
         m.set_kind(9);
         m.set_body(std::string(AsChars(secagg::Encode(early))));
       });
     }},
    {"KeysAfterTheirTime", "too-late", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 9, [](v1::SessionMessage& m) {
         const auto vouch = secagg::DecodeConsistencySignature(AsBytes(m.body())).value();
         secagg::AdvertiseKeys late;
         late.session_id = vouch.session_id;
         late.node_id = vouch.node_id;
         m.set_kind(2);
         m.set_body(std::string(AsChars(secagg::Encode(late))));
       });
     }},
};

const Case kShareLies[] = {
    {"FewerSharesThanPeers", "bad-share", Sum::kOfAll,
     [](Lies& l) { l.shares = [](secagg::ShareKeys& s) { s.shares.pop_back(); }; }},
    {"SharesForAStranger", "bad-share", Sum::kOfAll,
     [](Lies& l) { l.shares = [](secagg::ShareKeys& s) { s.shares[2].node_id = kStranger; }; }},
    {"SharesWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.shares = [](secagg::ShareKeys& s) { s.signature[0] ^= 1; };
     }},
    // Nobody but a share's receiver can see these; its secrets cannot be opened in the end.
    {"SwappedShares", "too-few-unmask-shares", Sum::kOfALaterRound,
     [](Lies& l) {
       l.shares = [](secagg::ShareKeys& s) { std::swap(s.shares[0].sealed, s.shares[1].sealed); };
     },
     3},  // it is named, and left out from then on
    {"GarbageForShares", "too-few-unmask-shares", Sum::kOfALaterRound,
     [](Lies& l) {
       l.shares = [](secagg::ShareKeys& s) {
         for (secagg::SealedShare& share : s.shares) share.sealed.fill(0x5a);
       };
     },
     3},
};

const Case kInputLies[] = {
    {"LongerInput", "shape-mismatch", Sum::kOfAll,
     [](Lies& l) { l.header = [](secagg::MaskedInputHeader& h) { h.total_bytes += 4; }; }},
    {"ShorterInput", "shape-mismatch", Sum::kOfAll,
     [](Lies& l) {
       l.input = [](std::vector<uint8_t>& y) { y.erase(y.end() - 4, y.end()); };
       l.header = [](secagg::MaskedInputHeader& h) { h.total_bytes -= 4; };
     }},
    {"HugeInput", "shape-mismatch", Sum::kOfAll,
     [](Lies& l) { l.header = [](secagg::MaskedInputHeader& h) { h.total_bytes = 1ull << 40; }; }},
    {"InputWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.header = [](secagg::MaskedInputHeader& h) { h.signature[9] ^= 1; };
     }},
    {"InputInAnothersName", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.header = [](secagg::MaskedInputHeader& h) { h.node_id = kStranger; }; }},
    {"ChunkWithoutAHeader", "unexpected-message", Sum::kOfAll,
     [](Lies& l) { l.stream = [](auto& stream) { stream.erase(stream.begin()); }; }},
    {"ChunkOfNoKind", "malformed-message", Sum::kOfAll,
     [](Lies& l) { l.stream = [](auto& stream) { stream[1].set_body("garbage"); }; }},
    {"ChunkOutOfOrder", "chunk-out-of-order", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].sequence = 1; }; }},
    {"ChunkOfAnotherSession", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].session_id[0] ^= 1; }; }},
    {"ShortChunk", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].data.pop_back(); }; }},
    {"LongChunk", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].data.push_back(1); }; }},
    {"ChunkWithAnotherHash", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].running_hash[0] ^= 1; }; }},
    {"OtherBytesThanTheHeaderSays", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) {
       l.chunks = [](auto& chunks) {
         chunks[0].data[0] ^= 1;
         chunks[0].running_hash = secagg::ExtendRunningHash({}, chunks[0].data);
       };
     }},
    {"ChunkTwice", "", Sum::kOfAll,
     [](Lies& l) {
       l.chunk_bytes = 64;
       l.chunks = [](auto& chunks) { chunks.insert(chunks.begin() + 1, chunks[0]); };
     }},
    {"ChunkTwiceAndDifferent", "second-masked-input", Sum::kOfAll,
     [](Lies& l) {
       l.chunks = [](auto& chunks) {
         chunks.push_back(chunks[0]);
         chunks[1].data[0] ^= 1;
         chunks[1].running_hash = secagg::ExtendRunningHash({}, chunks[1].data);
       };
     }},
    {"InputTwice", "", Sum::kOfAll,
     [](Lies& l) {
       l.after_the_truth = true;
       l.stream = [](auto&) {};
     }},
    {"TwoInputs", "second-masked-input", Sum::kOfAll,
     [](Lies& l) {
       l.after_the_truth = true;
       l.input = [](std::vector<uint8_t>& y) { AddTo(y, 0, 1, 1); };
     }},
    {"InputForAnotherSession", "session-over", Sum::kOfAll,
     [](Lies& l) {
       l.stream = [](auto& stream) { stream[0].set_session_id(std::string(16, 'x')); };
     }},
    {"InputWithoutItsEnd", "", Sum::kOfTheOthers,
     [](Lies& l) {
       l.chunk_bytes = 64;
       l.chunks = [](auto& chunks) { chunks.pop_back(); };
     }},
};

// Under its mask an input shows nothing; the sum does. NaN and infinity have no word.
const Case kValueLies[] = {
    {"WordsBeyondTheBound", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, 3, 1, 450 * kOne); }; }, 3},
    {"NormBeyondTheBound", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, 0, kValues, 90 * kOne); }; }, 3},
    {"WeightThatMakesAllOthersCount", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, kWeightHigh, 1, -63); }; }, 3},
    {"WeightOfMany", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, kWeightHigh, 1, 16); }; }, 3},
    {"CountedForTwo", "sum-inconsistent", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, kValues, 4, 1); }; }, 3},
    {"NoiseForAnInput", "sum-inconsistent", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { std::ranges::fill(y, uint8_t{0xa5}); }; }, 3},
};

const Case kLateLies[] = {
    {"AnotherSurvivorList", "two-survivor-lists", Sum::kOfAll,
     [](Lies& l) { l.vouch = [](secagg::ConsistencySignature& v) { v.h3[0] ^= 1; }; }},
    {"SurvivorListWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.vouch = [](secagg::ConsistencySignature& v) { v.signature[0] ^= 1; };
     }},
    {"SharesOfTheOtherKind", "bad-share", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) { a.shares[0].kind = secagg::ShareKind::kMaskKey; };
     }},
    {"SharesOfAStranger", "bad-share", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) { a.shares.back().node_id = kStranger; };
     }},
    {"SharesOutOfOrder", "bad-share", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) { std::swap(a.shares[0], a.shares[1]); };
     }},
    {"SharesThatAreNoScalars", "bad-share", Sum::kOfAll,
     [](Lies& l) { l.answer = [](secagg::UnmaskShares& a) { a.shares[0].share.fill(0xff); }; }},
    {"AnswerWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.answer = [](secagg::UnmaskShares& a) { a.signature[0] ^= 1; };
     }},
    // Got round, because one share more than needed is there.
    {"WrongShares", "", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) {
         for (secagg::UnmaskShare& share : a.shares) share.share[3] ^= 1;
       };
     }},
};

const Case kHangUps[] = {
    {"BeforeJoining", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeJoining; }},
    {"BeforeItsKeys", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeKeys; }},
    {"BeforeItsShares", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeShares; }},
    {"BeforeItsInput", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeInput; }},
    // The stream stays open: the deadline goes by progress, not by the line.
    {"InsideItsInput", "", Sum::kOfTheOthers,
     [](Lies& l) {
       l.chunk_bytes = 64;
       l.hang_up = HangUp::kInsideInput;
     }},
    {"BeforeVouching", "", Sum::kOfAll, [](Lies& l) { l.hang_up = HangUp::kBeforeVouching; }},
    {"BeforeItsAnswer", "", Sum::kOfAll, [](Lies& l) { l.hang_up = HangUp::kBeforeAnswer; }},
};

const auto kName = [](const auto& test) { return std::string(test.param.name); };
INSTANTIATE_TEST_SUITE_P(Keys, LieTest, testing::ValuesIn(kKeyLies), kName);
INSTANTIATE_TEST_SUITE_P(Shares, LieTest, testing::ValuesIn(kShareLies), kName);
INSTANTIATE_TEST_SUITE_P(Input, LieTest, testing::ValuesIn(kInputLies), kName);
INSTANTIATE_TEST_SUITE_P(Values, LieTest, testing::ValuesIn(kValueLies), kName);
INSTANTIATE_TEST_SUITE_P(Late, LieTest, testing::ValuesIn(kLateLies), kName);
INSTANTIATE_TEST_SUITE_P(HangUp, LieTest, testing::ValuesIn(kHangUps), kName);

// ---- Longer stories --------------------------------------------------------------------------

TEST_F(LiarTest, HolderOfWrongSharesIsNamed) {
  Start(1);
  liar_->lies.answer = [](secagg::UnmaskShares& answer) {
    for (secagg::UnmaskShare& share : answer.shares) share.share[3] ^= 1;
  };
  std::vector<std::string> honest;
  Play();
  EXPECT_EQ(ExactContributors(1).size(), 4u);
  for (size_t i = 0; i < kLiar; ++i) honest.push_back(nodes_[i]->id());
  // Its wrong shares show if they are among the first three, by node id.
  if (std::ranges::count_if(honest, [&](const auto& id) { return id < nodes_[kLiar]->id(); }) < 3) {
    EXPECT_TRUE(NamedLiar(nodes_[kLiar]->id()));
  }
}

// It would end every session that it is let into.
TEST_F(LiarTest, DealerOfGarbageIsNamedAndGetsNoMoreWork) {
  Start(1);
  liar_->lies.in_every_session = true;
  liar_->lies.shares = [](secagg::ShareKeys& shares) {
    for (secagg::SealedShare& share : shares.shares) share.sealed.fill(0x5a);
  };
  Play();
  const v1::RunStatus status = Status();
  ASSERT_EQ(status.rounds_size(), 2);
  EXPECT_THAT(status.rounds(0).reason_text(),
              testing::HasSubstr("lied about shares: " + ShortId(nodes_[kLiar]->id())));
  EXPECT_THAT(ExactContributors(1), testing::ElementsAre(0, 1, 2));
}

// The first round's input again in the second round: under its own name, and under the new one.
TEST_F(LiarTest, ReplayOfAnEarlierRoundIsRefused) {
  Start(2);
  std::vector<v1::MaskedInputChunk> earlier;
  Play([&] {
    if (nodes_[kLiar]->results().size() != 1 || liar_->told() || !earlier.empty()) return;
    earlier = liar_->sent_input();
    liar_->lies.stream = [&](std::vector<v1::MaskedInputChunk>& stream) {
      const absl::Status old = liar_->plain().Upload(earlier).status();
      EXPECT_EQ(NameOf(old), "session-over");
      const std::string session = stream[0].session_id();
      stream = earlier;
      for (v1::MaskedInputChunk& message : stream) message.set_session_id(session);
    };
  });
  ASSERT_EQ(liar_->refusals().size(), 1u);
  EXPECT_EQ(NameOf(liar_->refusals()[0]), "foreign-session");
  EXPECT_EQ(ExactContributors(2).size(), 4u);
}

// An enrolled node that is not of the cohort knows the session's id, and gets nothing by it.
TEST_F(LiarTest, OutsiderOfACohortIsRefused) {
  Start(1);
  TestNode outsider(9, federation_id_, random_);
  const auto calls = Enrol(outsider);
  bool asked = false;
  liar_->lies.stream = [&](std::vector<v1::MaskedInputChunk>& stream) {
    asked = true;
    v1::PollSessionRequest poll;
    poll.set_session_id(liar_->session_id());
    EXPECT_EQ(NameOf(calls->Poll(poll).status()), "unknown-member");
    EXPECT_EQ(NameOf(calls->Upload(stream).status()), "unknown-member");
    v1::SessionMessage message;
    message.set_session_id(liar_->session_id());
    message.set_kind(2);
    EXPECT_EQ(NameOf(calls->Send(message)), "unknown-member");
  };
  Play();
  EXPECT_TRUE(asked);
  EXPECT_EQ(ExactContributors(1).size(), 4u);
}

// Joining again is the same join; a place that was never given is nobody's.
TEST_F(LiarTest, JoiningTwiceIsJoiningOnce) {
  Start(1);
  liar_->lies.raw_kind = 2;
  liar_->lies.raw = [&](v1::SessionMessage&) {
    v1::JoinCohortRequest again = *liar_->joined();
    const auto config = liar_->plain().Join(again);
    ASSERT_TRUE(config.ok() && config->has_value()) << config.status();
    const auto decoded = secagg::DecodeSessionConfig(AsBytes(**config)).value();
    EXPECT_EQ(AsChars(decoded.session_id), liar_->session_id());
    again.set_lease_id("another");
    EXPECT_FALSE(liar_->plain().Join(again).ok());
    again = *liar_->joined();
    again.set_round(again.round() + 1);
    EXPECT_TRUE(absl::IsAborted(liar_->plain().Join(again).status()));
    again.set_run_id("no such run");
    EXPECT_TRUE(absl::IsNotFound(liar_->plain().Join(again).status()));
  };
  Play();
  EXPECT_TRUE(liar_->told());
  EXPECT_EQ(ExactContributors(1).size(), 4u);
}

// More than a message may hold, and more calls than a device may make: refused, while the others'
// round goes on.
TEST_F(LiarTest, MoreThanItsShareIsRefused) {
  Start(1);
  liar_->lies.raw_kind = 2;
  liar_->lies.raw = [&](v1::SessionMessage& message) {
    v1::SessionMessage large = message;
    large.set_body(std::string(size_t{5} << 20, 'x'));
    EXPECT_TRUE(absl::IsResourceExhausted(liar_->plain().Send(large)));
    bool stopped = false;
    for (int call = 0; call < 2000 && !stopped; ++call) {
      stopped = absl::IsResourceExhausted(liar_->plain().CheckIn().status());
    }
    EXPECT_TRUE(stopped);
  };
  Play();
  const std::vector<uint64_t> contributors = ExactContributors(1);
  EXPECT_THAT(contributors, testing::Contains(0));
  EXPECT_GE(contributors.size(), 3u);
}

}  // namespace
}  // namespace choir::coordinator
