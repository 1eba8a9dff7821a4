#include "bench/secure_agg_session.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include <fmt/format.h>

#include "base/parallel.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "secure-agg/client/client_session.h"
#include "secure-agg/core/chunks.h"
#include "secure-agg/core/graph.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/server/server_session.h"

namespace choir::bench {
namespace {

using namespace secagg;
using Clock = std::chrono::steady_clock;

constexpr int64_t kNowMs = 1'700'000'000'000;

// Takes every device for certified: what certificates cost is not secure aggregation's.
class AnyDevice final : public DeviceVerifier {
 public:
  [[nodiscard]] absl::Status Verify(const NodeId&, const PublicKey&,
                                    std::span<const uint8_t>) const override {
    return absl::OkStatus();
  }
};

SecretBytes<32> SeedOf(std::string_view label, uint64_t seed, uint64_t number) {
  return SecretBytes<32>(Sha256().Update(label).UpdateU64(seed).UpdateU64(number).Finish());
}

struct SimNode {
  NodeId id;
  std::unique_ptr<Ed25519Signer> signer;
  int silent_from = 5;
  std::optional<ClientSession> session;
  double setup_s = 0;
  double mask_s = 0;
  uint64_t up = 0;
  uint64_t down = 0;
};

double Timed(absl::FunctionRef<void()> work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double PeakMib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

SessionConfig ConfigOf(const SessionPlan& plan) {
  SessionConfig config;
  config.federation_id = "bench";
  config.run_id = "bench";
  config.session_id = {1};
  config.round_counter = 1;
  config.word_bits = 32;
  config.value_bits = 20;
  config.clip_norm = 1e3;
  config.min_cohort = 3;
  config.max_cohort = std::max(plan.nodes, 3u);
  config.graph = plan.graph;
  if (plan.graph == GraphKind::kRegular) {
    config.threshold_rule = ThresholdRule::kNeighbourhood;
    config.corrupt_percent = plan.corrupt_percent;
    config.dropout_percent = plan.dropout_percent;
  }
  config.prg = plan.prg;
  config.delta_length = plan.words;
  config.expires_at_ms = kNowMs + 60'000;
  return config;
}

class Simulation {
 public:
  explicit Simulation(const SessionPlan& plan)
      : plan_(plan),
        config_(ConfigOf(plan)),
        coordinator_(SeedOf("coordinator", plan.seed, 0)),
        run_(plan.threads) {}

  absl::StatusOr<SessionFigures> Run();

 private:
  absl::Status Open();
  void ChooseSilent();
  // One stage of all nodes that still speak, several at a time; the coordinator takes one at a
  // time.
  void Stage(int stage, absl::FunctionRef<absl::Status(SimNode&)> answer);
  absl::Status Close();
  absl::Status Advertise(SimNode& node);
  absl::Status Input(SimNode& node);
  absl::Status Answer(SimNode& node,
                      absl::StatusOr<Step> (ClientSession::*handle)(std::span<const uint8_t>),
                      absl::Status (ServerSession::*add)(const NodeId&, std::span<const uint8_t>));
  std::vector<uint8_t> MessageFor(SimNode& node);
  absl::Status Told(double& seconds, absl::FunctionRef<absl::Status()> work);
  absl::Status AddToPlainSum(const SimNode& node);
  [[nodiscard]] std::vector<float> DeltaOf(const SimNode& node) const;
  void Summarise(SessionFigures& figures);
  double StreamSeconds(double gigabytes) const;

  const SessionPlan& plan_;
  SessionConfig config_;
  Ed25519Signer coordinator_;
  AnyDevice verifier_;
  Threads run_;
  std::vector<SimNode> nodes_;
  std::optional<ServerSession> server_;
  std::mutex server_mu_;
  std::mutex plain_mu_;
  std::vector<uint8_t> plain_;
  absl::Status failed_;
  double ingest_s_ = 0;
  double other_s_ = 0;
  double unmask_s_ = 0;
};

absl::Status Simulation::Open() {
  CHOIR_RETURN_IF_ERROR(SignConfig(coordinator_, config_));
  CHOIR_ASSIGN_OR_RETURN(ServerSession server, ServerSession::Open(config_, verifier_));
  server_.emplace(std::move(server));
  for (uint32_t i = 0; i < plan_.nodes; ++i) {
    SimNode node;
    node.id = fmt::format("simulated-node-{:017}", i);  // as long as a real one, 32 bytes
    node.signer = std::make_unique<Ed25519Signer>(SeedOf("device", plan_.seed, i));
    nodes_.push_back(std::move(node));
  }
  if (plan_.check_sum) plain_.assign(PackedBytes(CodecOf(config_)), 0);
  return absl::OkStatus();
}

void Simulation::ChooseSilent() {
  SeededRng rng(plan_.seed);
  std::vector<SimNode*> speaking;
  for (SimNode& node : nodes_) speaking.push_back(&node);
  for (int stage = 0; stage < 5; ++stage) {
    auto leave = static_cast<size_t>(std::llround(plan_.silent[static_cast<size_t>(stage)] *
                                                  static_cast<double>(speaking.size())));
    for (; leave > 0; --leave) {
      const size_t at = rng.NextBelow(speaking.size());
      speaking[at]->silent_from = stage;
      speaking.erase(speaking.begin() + static_cast<ptrdiff_t>(at));
    }
  }
}

void Simulation::Stage(int stage, absl::FunctionRef<absl::Status(SimNode&)> answer) {
  std::mutex mu;
  run_(nodes_.size(), [&](size_t i) {
    SimNode& node = nodes_[i];
    if (node.silent_from <= stage) return;
    absl::Status status = answer(node);
    const std::lock_guard lock(mu);
    if (!status.ok() && failed_.ok()) failed_ = std::move(status);
  });
}

absl::Status Simulation::Told(double& seconds, absl::FunctionRef<absl::Status()> work) {
  const std::lock_guard lock(server_mu_);
  absl::Status status;
  seconds += Timed([&] { status = work(); });
  return status;
}

std::vector<uint8_t> Simulation::MessageFor(SimNode& node) {
  std::vector<uint8_t> message;
  const absl::Status status = Told(other_s_, [&]() -> absl::Status {
    CHOIR_ASSIGN_OR_RETURN(message, server_->MessageFor(node.id));
    return absl::OkStatus();
  });
  if (!status.ok()) return {};
  node.down += message.size();
  return message;
}

absl::Status Simulation::Close() {
  if (!failed_.ok()) return failed_;
  const bool last = server_->stage() == ServerStage::kUnmasking;
  return Told(last ? unmask_s_ : other_s_, [&] { return server_->CloseStage(run_); });
}

absl::Status Simulation::Advertise(SimNode& node) {
  const auto number = static_cast<uint64_t>(&node - nodes_.data());
  std::vector<uint8_t> message;
  absl::Status status;
  node.setup_s += Timed([&] {
    ClientPolicyOptions floor;
    floor.min_cohort = 3;
    const ClientContext context{node.id,
                                coordinator_.public_key(),
                                config_.federation_id,
                                config_.run_id,
                                config_.round,
                                config_.base_hash,
                                config_.adapter_hash,
                                config_.lora_digest,
                                config_.delta_length,
                                0,
                                absl::FromUnixMillis(kNowMs)};
    auto session =
        ClientSession::Start(Encode(config_), context, ClientPolicy::Create(floor).value(),
                             *node.signer, verifier_, SeedOf("session", plan_.seed, number));
    status = session.status();
    if (!status.ok()) return;
    node.session.emplace(*std::move(session));
    message = std::move(*node.session->CurrentStep())
                  .Release([](auto) { return absl::OkStatus(); })
                  .value();
  });
  CHOIR_RETURN_IF_ERROR(status);
  node.up += message.size();
  const DeviceIdentity identity{node.id, node.signer->public_key(), std::vector<uint8_t>(300)};
  return Told(other_s_, [&] { return server_->AddAdvertiseKeys(identity, message); });
}

absl::Status Simulation::Answer(
    SimNode& node, absl::StatusOr<Step> (ClientSession::*handle)(std::span<const uint8_t>),
    absl::Status (ServerSession::*add)(const NodeId&, std::span<const uint8_t>)) {
  const std::vector<uint8_t> told = MessageFor(node);
  absl::StatusOr<std::vector<uint8_t>> message = absl::InternalError("not made");
  node.setup_s += Timed([&] {
    absl::StatusOr<Step> step = ((*node.session).*handle)(told);
    message = step.ok() ? std::move(*step).Release([](auto) { return absl::OkStatus(); })
                        : absl::StatusOr<std::vector<uint8_t>>(step.status());
  });
  CHOIR_RETURN_IF_ERROR(message.status());
  node.up += message->size();
  return Told(other_s_, [&] { return ((*server_).*add)(node.id, *message); });
}

std::vector<float> Simulation::DeltaOf(const SimNode& node) const {
  SeededRng rng(plan_.seed * 1'000'003 + static_cast<uint64_t>(&node - nodes_.data()));
  std::vector<float> delta(plan_.words);
  for (float& value : delta) {
    value =
        static_cast<float>(static_cast<int64_t>(rng.NextU64() >> 40) - (int64_t{1} << 23)) * 1e-8F;
  }
  return delta;
}

absl::Status Simulation::AddToPlainSum(const SimNode& node) {
  const auto number = static_cast<uint64_t>(&node - nodes_.data());
  const SecretBytes<32> rounding = DeriveSecret(SeedOf("session", plan_.seed, number).Expose(),
                                                HashConfig(config_), "choir/client/rounding");
  const std::vector<float> delta = DeltaOf(node);
  CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> packed,
                         EncodeValues(CodecOf(config_), {delta, 1, 0, 0, {}}, rounding));
  const std::lock_guard lock(plain_mu_);
  AddWords(plain_, packed, config_.word_bits);
  return absl::OkStatus();
}

absl::Status Simulation::Input(SimNode& node) {
  const std::vector<uint8_t> told = MessageFor(node);
  absl::Status status;
  node.setup_s += Timed([&] { status = node.session->HandleShareDelivery(told).status(); });
  CHOIR_RETURN_IF_ERROR(status);
  const std::vector<float> delta = DeltaOf(node);
  std::vector<uint8_t> header;
  node.mask_s += Timed([&] {
    absl::StatusOr<Step> step = node.session->MaskInput({delta, 1, 0, 0, {}});
    status = step.status();
    if (status.ok()) {
      header = std::move(*step).Release([](auto) { return absl::OkStatus(); }).value();
    }
  });
  CHOIR_RETURN_IF_ERROR(status);
  CHOIR_ASSIGN_OR_RETURN(const MaskedInputHeader opened, DecodeMaskedInputHeader(header));
  ChunkAssembler assembler(opened);
  std::vector<uint8_t> spool;
  spool.reserve(opened.total_bytes);
  node.up += header.size();
  for (uint32_t i = 0; i < node.session->num_chunks(); ++i) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, node.session->Chunk(i));
    CHOIR_ASSIGN_OR_RETURN(const MaskedInputChunk chunk, DecodeMaskedInputChunk(bytes));
    CHOIR_RETURN_IF_ERROR(assembler.Accept(chunk).status());
    spool.insert(spool.end(), chunk.data.begin(), chunk.data.end());
    node.up += bytes.size();
  }
  CHOIR_RETURN_IF_ERROR(Told(ingest_s_, [&] { return server_->AddInput(node.id, header, spool); }));
  CHOIR_RETURN_IF_ERROR(node.session->MarkUploaded().status());
  node.session->ForgetInput();
  return plan_.check_sum ? AddToPlainSum(node) : absl::OkStatus();
}

// How long the key stream alone takes for so much, in this run and on one thread.
double Simulation::StreamSeconds(double gigabytes) const {
  constexpr size_t kBytes = 64u << 20;
  std::vector<uint8_t> block(9216);
  MaskStream stream(plan_.prg, SeedOf("raw", 0, 0));
  const double seconds = Timed([&] {
    for (size_t done = 0; done < kBytes; done += block.size()) stream.Next(block);
  });
  return seconds * gigabytes * 1e9 / kBytes;
}

void Simulation::Summarise(SessionFigures& figures) {
  double contributors = 0;
  for (const SimNode& node : nodes_) {
    if (node.silent_from < 5) continue;
    contributors += 1;
    figures.client_setup_ms += node.setup_s * 1e3;
    figures.client_mask_ms += node.mask_s * 1e3;
    figures.bytes_up += static_cast<double>(node.up);
    figures.bytes_down += static_cast<double>(node.down);
  }
  for (double* sum : {&figures.client_setup_ms, &figures.client_mask_ms, &figures.bytes_up,
                      &figures.bytes_down}) {
    *sum /= std::max(contributors, 1.0);
  }
  figures.server_ingest_ms = ingest_s_ * 1e3 / std::max(figures.contributors, 1u);
  figures.server_other_ms = other_s_ * 1e3;
  figures.server_unmask_ms = unmask_s_ * 1e3;
  figures.peak_mib = PeakMib();
  // A full contributor's masks: its own and one for each neighbour.
  const double vector_gb = static_cast<double>(PackedBytes(CodecOf(config_))) / 1e9;
  const double stream_ms = StreamSeconds(vector_gb * (figures.degree + 1)) * 1e3;
  figures.stream_share =
      figures.client_mask_ms > 0 ? std::min(1.0, stream_ms / figures.client_mask_ms) : 0;
}

absl::StatusOr<SessionFigures> Simulation::Run() {
  const auto start = Clock::now();
  CHOIR_RETURN_IF_ERROR(Open());
  ChooseSilent();
  SessionFigures figures;
  const auto play = [&]() -> absl::Status {
    Stage(0, [&](SimNode& node) { return Advertise(node); });
    CHOIR_RETURN_IF_ERROR(Close());
    const GraphShape shape = ShapeOf(config_, static_cast<uint32_t>(server_->Members().size()));
    figures.cohort = shape.size;
    figures.degree = shape.degree;
    figures.threshold = shape.threshold;
    Stage(1, [&](SimNode& node) {
      return Answer(node, &ClientSession::HandleKeyList, &ServerSession::AddShareKeys);
    });
    CHOIR_RETURN_IF_ERROR(Close());
    Stage(2, [&](SimNode& node) { return Input(node); });
    CHOIR_RETURN_IF_ERROR(Close());
    Stage(3, [&](SimNode& node) {
      return Answer(node, &ClientSession::HandleSurvivorList,
                    &ServerSession::AddConsistencySignature);
    });
    CHOIR_RETURN_IF_ERROR(Close());
    Stage(4, [&](SimNode& node) {
      return Answer(node, &ClientSession::HandleSurvivorSignatures,
                    &ServerSession::AddUnmaskShares);
    });
    return Close();
  };
  if (const absl::Status played = play(); !played.ok()) {
    if (server_->stage() != ServerStage::kAborted) return played;
    figures.aborted = std::string(AbortReasonName(*server_->abort_reason()));
  } else {
    CHOIR_ASSIGN_OR_RETURN(const SessionSum sum, std::move(*server_).TakeSum());
    figures.complete = true;
    figures.contributors = static_cast<uint32_t>(sum.contributors.size());
    figures.exact = plan_.check_sum && sum.packed == plain_;
  }
  figures.total_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  Summarise(figures);
  return figures;
}

}  // namespace

absl::StatusOr<SessionFigures> RunSession(const SessionPlan& plan) {
  return Simulation(plan).Run();
}

}  // namespace choir::bench
