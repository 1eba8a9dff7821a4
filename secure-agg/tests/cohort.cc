#include "secure-agg/tests/cohort.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/sha256.h"
#include "secure-agg/core/chunks.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/graph.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {
namespace {

constexpr int64_t kNowMs = 1'700'000'000'000;

std::vector<uint8_t> CertificateBytes(const NodeId& id, const PublicKey& device_key) {
  std::vector<uint8_t> bytes(id.begin(), id.end());
  bytes.insert(bytes.end(), device_key.begin(), device_key.end());
  return bytes;
}

}  // namespace

SecretBytes<32> SeedFrom(std::string_view label, uint64_t number) {
  return SecretBytes<32>(Sha256().Update(label).UpdateU64(number).Finish());
}

std::vector<uint8_t> TestAuthority::Certify(const NodeId& id, const PublicKey& device_key) const {
  const Signature signature = key_.Sign(CertificateBytes(id, device_key)).value();
  return {signature.begin(), signature.end()};
}

absl::Status TestAuthority::Verify(const NodeId& id, const PublicKey& device_key,
                                   std::span<const uint8_t> credential) const {
  Signature signature{};
  if (credential.size() != signature.size()) return absl::PermissionDeniedError("no certificate");
  std::ranges::copy(credential, signature.begin());
  if (!VerifySignature(key_.public_key(), CertificateBytes(id, device_key), signature)) {
    return absl::PermissionDeniedError("not certified by the authority");
  }
  return absl::OkStatus();
}

SessionConfig TestConfig(uint32_t delta_length) {
  SessionConfig config;
  config.federation_id = "test-federation";
  config.run_id = "run-1";
  config.round = 7;
  config.session_id = {1, 2, 3, 4};
  config.round_counter = 12;
  config.base_hash = Sha256Of("base");
  config.adapter_hash = Sha256Of("adapter");
  config.lora_digest = Sha256Of("lora");
  config.delta_length = delta_length;
  config.extra_slots = 2;
  config.word_bits = 32;
  config.value_bits = 24;
  config.codec_range = 1;
  config.clip_norm = 4;
  config.max_weight = 100;
  config.min_cohort = 3;
  config.max_cohort = 32;
  config.deadlines = {10'000, 10'000, 60'000, 10'000, 10'000};
  config.expires_at_ms = kNowMs + 60'000;
  return config;
}

SessionConfig TestRegularConfig(uint32_t delta_length, uint8_t dropout_percent,
                                uint32_t max_cohort) {
  SessionConfig config = TestConfig(delta_length);
  config.graph = GraphKind::kRegular;
  config.threshold_rule = ThresholdRule::kNeighbourhood;
  config.corrupt_percent = 5;
  config.dropout_percent = dropout_percent;
  config.max_cohort = max_cohort;
  config.value_bits = 22;
  return config;
}

void MakePrivate(SessionConfig& config) {
  config.extra_slots = 0;
  config.max_weight = 1;
  config.privacy = {NoiseMechanism::kDiscreteGaussian, 1, 1e-5, 0};
}

TestCohort::TestCohort(uint32_t n, SessionConfig wanted, uint64_t seed)
    : config(std::move(wanted)), coordinator(SeedFrom("coordinator", seed)), authority(seed) {
  EXPECT_TRUE(SignConfig(coordinator, config).ok());
  SeededRng rng(seed);
  for (uint32_t i = 0; i < n; ++i) {
    TestNode node;
    node.id = fmt::format("node-{:03}", i);
    node.signer = std::make_unique<Ed25519Signer>(SeedFrom("device", seed * 1000 + i));
    const PublicKey key = node.signer->public_key();
    node.identity = {node.id, key, authority.Certify(node.id, key)};
    node.session_seed = SeedFrom("session", seed * 1000 + i);
    for (uint64_t k = 0; k < config.delta_length; ++k) {
      node.delta.push_back(static_cast<float>(rng.NextUnit() * 0.2 - 0.1));
    }
    for (uint32_t k = 0; k < config.extra_slots; ++k) node.extras.push_back(rng.NextUnit() - 0.5);
    node.examples = 1 + rng.NextBelow(100);
    node.token_count = 1000 + rng.NextBelow(1000);
    node.loss_sum = 100 * rng.NextUnit();
    nodes.push_back(std::move(node));
  }
}

ClientContext TestCohort::ContextOf(size_t i) const {
  return {nodes[i].id,
          coordinator.public_key(),
          config.federation_id,
          config.run_id,
          config.round,
          config.base_hash,
          config.adapter_hash,
          config.lora_digest,
          config.delta_length,
          11,
          absl::FromUnixMillis(kNowMs)};
}

ClientPolicy TestCohort::Policy() const {
  ClientPolicyOptions options;
  options.min_cohort = 3;
  return ClientPolicy::Create(options).value();
}

absl::StatusOr<ClientSession> TestCohort::StartClient(size_t i) const {
  return ClientSession::Start(Encode(config), ContextOf(i), Policy(), *nodes[i].signer, authority,
                              nodes[i].session_seed.Clone());
}

std::vector<uint8_t> TestCohort::PlainInput(size_t i) const {
  const SecretBytes<32> rounding =
      DeriveSecret(nodes[i].session_seed.Expose(), HashConfig(config), "choir/client/rounding");
  CodecParams codec = CodecOf(config);
  codec.assured =
      std::max(ShapeOf(config, static_cast<uint32_t>(nodes.size())).quorum, config.min_cohort);
  return EncodeValues(codec, nodes[i].values(), rounding).value();
}

std::vector<uint8_t> TestCohort::PlainSum(const std::vector<NodeId>& ids) const {
  std::vector<uint8_t> sum(PackedBytes(CodecOf(config)));
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (std::ranges::find(ids, nodes[i].id) == ids.end()) continue;
    AddWords(sum, PlainInput(i), config.word_bits);
  }
  return sum;
}

std::vector<uint8_t> Sent(absl::StatusOr<Step> step) {
  EXPECT_TRUE(step.ok()) << step.status().ToString();
  if (!step.ok()) return {};
  return std::move(*step).Release([](auto) { return absl::OkStatus(); }).value();
}

std::optional<AbortReason> ReasonOfStep(const absl::StatusOr<Step>& step) {
  EXPECT_FALSE(step.ok()) << "the message was accepted";
  return ReasonOf(step.status());
}

void SessionStore::Keep(ServerSession& session) {
  for (SessionPiece& piece : session.Changes()) {
    if (piece.value.empty()) {
      pieces_.erase(piece.key);
    } else {
      pieces_[piece.key] = std::move(piece.value);
    }
  }
  session.Stored();
}

std::vector<SessionPiece> SessionStore::Pieces() const {
  std::vector<SessionPiece> out;
  for (const auto& [key, value] : pieces_) out.push_back({key, value});
  return out;
}

Play::Play(const TestCohort& wanted, std::map<size_t, int> silent)
    : cohort(wanted),
      silent_from(std::move(silent)),
      server(ServerSession::Open(cohort.config, cohort.authority).value()),
      clients(cohort.nodes.size()) {}

bool Play::Speaks(size_t i, int stage) const {
  const auto found = silent_from.find(i);
  return found == silent_from.end() || found->second > stage;
}

bool Play::Advertise() {
  for (size_t i = 0; i < clients.size(); ++i) {
    if (!Speaks(i, 0)) continue;
    absl::StatusOr<ClientSession> session = cohort.StartClient(i);
    EXPECT_TRUE(session.ok()) << session.status().ToString();
    if (!session.ok()) continue;
    clients[i].emplace(*std::move(session));
    const absl::Status added =
        server.AddAdvertiseKeys(cohort.nodes[i].identity, Sent(clients[i]->CurrentStep()));
    EXPECT_TRUE(added.ok()) << added.ToString();
  }
  return server.CloseStage().ok();
}

bool Play::Share() {
  for (size_t i = 0; i < clients.size(); ++i) {
    if (!Speaks(i, 1)) continue;
    const NodeId& id = cohort.nodes[i].id;
    const absl::Status added =
        server.AddShareKeys(id, Sent(clients[i]->HandleKeyList(server.MessageFor(id).value())));
    EXPECT_TRUE(added.ok()) << added.ToString();
  }
  return server.CloseStage().ok();
}

absl::Status Play::Upload(size_t i) {
  const NodeId& id = cohort.nodes[i].id;
  const std::vector<uint8_t> header = Sent(clients[i]->CurrentStep());
  absl::StatusOr<MaskedInputHeader> checked = server.CheckInputHeader(id, header);
  if (!checked.ok()) return checked.status();
  ChunkAssembler assembler(*checked);
  std::vector<uint8_t> spool;
  for (uint32_t k = assembler.next(); k < clients[i]->num_chunks(); ++k) {
    const MaskedInputChunk chunk = DecodeMaskedInputChunk(clients[i]->Chunk(k).value()).value();
    absl::StatusOr<bool> fresh = assembler.Accept(chunk);
    if (!fresh.ok()) return fresh.status();
    if (*fresh) spool.insert(spool.end(), chunk.data.begin(), chunk.data.end());
  }
  EXPECT_TRUE(assembler.complete());
  absl::Status added = server.AddInput(id, header, spool);
  if (added.ok()) spools[id] = {header, std::move(spool)};
  return added;
}

void Play::RestartServer() {
  store.Keep(server);
  server = ServerSession::Restore(store.Pieces(), cohort.authority).value();
  for (const NodeId& id : server.InputsToReplay()) {
    EXPECT_TRUE(server.AddInput(id, spools.at(id).header, spools.at(id).input).ok());
  }
}

bool Play::Mask() {
  for (size_t i = 0; i < clients.size(); ++i) {
    if (!Speaks(i, 2)) continue;
    const NodeId& id = cohort.nodes[i].id;
    EXPECT_TRUE(Sent(clients[i]->HandleShareDelivery(server.MessageFor(id).value())).empty());
    EXPECT_FALSE(Sent(clients[i]->MaskInput(cohort.nodes[i].values())).empty());
    const absl::Status added = Upload(i);
    EXPECT_TRUE(added.ok()) << added.ToString();
    EXPECT_TRUE(clients[i]->MarkUploaded().ok());
  }
  return server.CloseStage().ok();
}

bool Play::Vouch() {
  for (size_t i = 0; i < clients.size(); ++i) {
    if (!Speaks(i, 3)) continue;
    const NodeId& id = cohort.nodes[i].id;
    const absl::Status added = server.AddConsistencySignature(
        id, Sent(clients[i]->HandleSurvivorList(server.MessageFor(id).value())));
    EXPECT_TRUE(added.ok()) << added.ToString();
  }
  return server.CloseStage().ok();
}

bool Play::Unmask() {
  for (size_t i = 0; i < clients.size(); ++i) {
    if (!Speaks(i, 4)) continue;
    const NodeId& id = cohort.nodes[i].id;
    const absl::Status added = server.AddUnmaskShares(
        id, Sent(clients[i]->HandleSurvivorSignatures(server.MessageFor(id).value())));
    EXPECT_TRUE(added.ok()) << added.ToString();
  }
  return server.CloseStage().ok();
}

void Play::Run() {
  (void)(Advertise() && Share() && Mask() && Vouch() && Unmask());
}

}  // namespace choir::secagg
