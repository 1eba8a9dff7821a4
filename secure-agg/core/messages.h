#ifndef CHOIR_SECURE_AGG_CORE_MESSAGES_H_
#define CHOIR_SECURE_AGG_CORE_MESSAGES_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/sha256.h"
#include "privacy/mechanism.h"

// The messages of one secure-aggregation session, and their one canonical byte form.
//
// Encode() and Decode are exact inverses: what decodes, encodes to the same bytes, so what is
// signed and hashed is what was sent. Little-endian; texts and byte strings carry a 32-bit length,
// lists a 32-bit count; the first two bytes are the message's kind and the version. Decode checks
// every length and limit before it allocates, refuses trailing bytes, and answers DATA_LOSS with
// AbortReason::kMalformedMessage. docs/protocol.md has the bytes and a worked example.
namespace choir::secagg {

using NodeId = std::string;                 // 1 to 64 bytes, opaque; lists are sorted by its bytes
using SessionId = std::array<uint8_t, 16>;  // fresh for each session
using PublicKey = std::array<uint8_t, 32>;  // X25519 or Ed25519
using Signature = std::array<uint8_t, 64>;  // Ed25519
using Nonce = std::array<uint8_t, 32>;
using Share = std::array<uint8_t, 32>;  // a scalar of ristretto255, canonical

inline constexpr uint8_t kMessageVersion = 1;
inline constexpr uint32_t kMaxIdBytes = 64;
inline constexpr uint32_t kMaxCredentialBytes = 8192;
inline constexpr uint32_t kMaxMembers = 1024;
inline constexpr uint32_t kMaxCompleteGraph = 128;
inline constexpr uint32_t kMaxRegularGraph = kMaxMembers;
inline constexpr uint32_t kMaxPathLength = 10;  // of a Merkle tree of kMaxMembers leaves
inline constexpr uint32_t kMaxChunkBytes = 1u << 20;
inline constexpr uint32_t kSealedSharesBytes = 80;  // two shares and a Poly1305 tag
inline constexpr uint64_t kMaxDeltaLength = uint64_t{1} << 30;
inline constexpr uint32_t kMaxExtraSlots = 64;
// Weights are sums of 2^-32: one example of this many still counts, to 8 bits.
inline constexpr uint64_t kMaxWeight = uint64_t{1} << 24;

enum class Prg : uint8_t { kChaCha20 = 1, kAes256Ctr = 2 };
// kTwoThirds: floor(2n/3) + 1, of a complete graph. kNeighbourhood: what graph_parameters.h finds.
enum class ThresholdRule : uint8_t { kTwoThirds = 1, kNeighbourhood = 2 };
// kRegular: Bell et al., CCS 2020; each node knows its neighbours only.
enum class GraphKind : uint8_t { kComplete = 1, kRegular = 2 };
using NoiseMechanism = privacy::Mechanism;

// What is promised of the cohort's sum. The noise itself follows from it (privacy/noise_plan.h).
struct PrivacyParams {
  NoiseMechanism mechanism = NoiseMechanism::kNone;
  double noise_multiplier = 0;  // standard deviation of the sum's noise / one node's largest norm
  double delta = 0;
  double clip_bit_noise = 0;  // above 0: the clip bits are summed under noise of this deviation
  friend bool operator==(const PrivacyParams&, const PrivacyParams&) = default;
};

// How long the coordinator means to wait in each stage, in milliseconds. Information for the node's
// owner; no state machine here acts on time.
struct StageDeadlines {
  uint32_t advertise_ms = 0, share_ms = 0, input_ms = 0, sign_ms = 0, unmask_ms = 0;
  friend bool operator==(const StageDeadlines&, const StageDeadlines&) = default;
};

// A0, coordinator to node. Everything that the cohort must agree on; H0 is its hash.
struct SessionConfig {
  std::string federation_id;  // 1 to 64 bytes
  std::string run_id;         // 1 to 64 bytes
  uint64_t round = 0;
  SessionId session_id{};
  uint64_t round_counter = 0;  // above that of every session that the coordinator signed before
  Digest base_hash{};
  Digest adapter_hash{};  // G_r: the adapter that every node trained from
  Digest lora_digest{};   // LoRA shape, and which factors the vector holds
  uint64_t delta_length = 0;
  uint32_t extra_slots = 0;  // of the strategy
  uint8_t word_bits = 32;    // b: 16, 24 or 32
  uint8_t value_bits = 24;   // q <= b - ceil(log2(max_cohort))
  double codec_range = 1;    // C: the largest |value| that q bits can say
  double clip_norm = 1;      // S: L2 bound of one node's weighted delta
  uint64_t max_weight = 1;   // W: examples are counted up to this many
  uint32_t min_cohort = 8;
  uint32_t max_cohort = kMaxCompleteGraph;
  ThresholdRule threshold_rule = ThresholdRule::kTwoThirds;
  GraphKind graph = GraphKind::kComplete;
  // What a kRegular graph bears, in percent of the cohort; zero, and not on the wire, otherwise.
  uint8_t corrupt_percent = 0;  // nodes that work with the coordinator
  uint8_t dropout_percent = 0;  // nodes that fall silent after the key list
  Prg prg = Prg::kChaCha20;
  PrivacyParams privacy;
  StageDeadlines deadlines;
  int64_t expires_at_ms = 0;  // Unix time
  Signature signature{};      // of the coordinator, over H0
  friend bool operator==(const SessionConfig&, const SessionConfig&) = default;
};

// R0, node to coordinator. Fresh keys, signed together with H0.
struct AdvertiseKeys {
  SessionId session_id{};
  NodeId node_id;
  PublicKey share_key{};          // c: seals shares
  PublicKey mask_key{};           // s: makes pair masks
  Digest self_mask_commitment{};  // binds the node to the secret b, so that a lying share shows
  Nonce nonce{};
  Signature signature{};
  friend bool operator==(const AdvertiseKeys&, const AdvertiseKeys&) = default;
};

struct KeyListEntry {
  PublicKey device_key{};           // Ed25519
  std::vector<uint8_t> credential;  // what certifies device_key; read by a DeviceVerifier
  AdvertiseKeys keys;
  friend bool operator==(const KeyListEntry&, const KeyListEntry&) = default;
};

// R1, coordinator to node: U1, sorted by node id. A node's index here is its place in the protocol.
struct KeyList {
  SessionId session_id{};
  std::vector<KeyListEntry> entries;
  friend bool operator==(const KeyList&, const KeyList&) = default;
};

struct SealedShare {
  NodeId node_id;  // to whom (ShareKeys), from whom (ShareDelivery)
  std::array<uint8_t, kSealedSharesBytes> sealed{};  // AEAD(share of s, share of b)
  friend bool operator==(const SealedShare&, const SealedShare&) = default;
};

struct NeighbourEntry {
  uint32_t place = 0;  // in the cohort, counted in the order of node ids
  KeyListEntry entry;
  std::vector<Digest> path;  // from its leaf up to the root (merkle.h)
  friend bool operator==(const NeighbourEntry&, const NeighbourEntry&) = default;
};

// R1 in a regular graph, coordinator to one node: itself and its neighbours, sorted. H1 covers the
// root, and so every key of the cohort; who is whose neighbour follows from H1 (graph.h).
struct NeighbourList {
  SessionId session_id{};
  uint32_t cohort_size = 0;
  uint32_t degree = 0;     // k
  uint32_t threshold = 0;  // t, of each neighbourhood
  Digest root{};
  std::vector<NeighbourEntry> entries;
  friend bool operator==(const NeighbourList&, const NeighbourList&) = default;
};

// R1, node to coordinator: one sealed pair of shares for each other node of U1 (in a regular graph:
// for each neighbour), sorted.
struct ShareKeys {
  SessionId session_id{};
  NodeId node_id;
  std::vector<SealedShare> shares;
  Signature signature{};  // over H0, H1 and the shares
  friend bool operator==(const ShareKeys&, const ShareKeys&) = default;
};

// R2, coordinator to one node: U2 (sorted; the same for all), and what the others sealed for it.
struct ShareDelivery {
  SessionId session_id{};
  std::vector<NodeId> members;
  std::vector<SealedShare> shares;  // one for each member but the receiver, sorted
  friend bool operator==(const ShareDelivery&, const ShareDelivery&) = default;
};

// R2 in a regular graph: U2 as a bit per place in the cohort, lowest bit first.
struct NeighbourDelivery {
  SessionId session_id{};
  std::vector<uint8_t> members;
  std::vector<SealedShare> shares;  // one for each neighbour in U2, sorted
  friend bool operator==(const NeighbourDelivery&, const NeighbourDelivery&) = default;
};

// R2, node to coordinator, before the chunks.
struct MaskedInputHeader {
  SessionId session_id{};
  NodeId node_id;
  uint64_t total_bytes = 0;
  uint32_t chunk_bytes = kMaxChunkBytes;  // of each chunk but the last
  Digest input_hash{};                    // H(y): the running hash of the last chunk
  Signature signature{};                  // over H0, H1, H2, input_hash
  friend bool operator==(const MaskedInputHeader&, const MaskedInputHeader&) = default;
};

// R2, node to coordinator: a piece of the packed y.
struct MaskedInputChunk {
  SessionId session_id{};
  NodeId node_id;
  uint32_t sequence = 0;
  Digest running_hash{};  // SHA-256(running hash before || data); see chunks.h
  std::vector<uint8_t> data;
  friend bool operator==(const MaskedInputChunk&, const MaskedInputChunk&) = default;
};

struct Survivor {
  NodeId node_id;
  Digest input_hash{};
  friend bool operator==(const Survivor&, const Survivor&) = default;
};

// R3, coordinator to node: U3 with the hash of each input, and U2 \ U3. Both sorted.
struct SurvivorList {
  SessionId session_id{};
  std::vector<Survivor> survivors;  // shares of b will be asked for
  std::vector<NodeId> dropped;      // shares of s will be asked for
  friend bool operator==(const SurvivorList&, const SurvivorList&) = default;
};

// R3 in a regular graph: U3 as bits, and the root over the hashes of its inputs. Same for all but
// the path, which leads from the receiver's own input to that root.
struct NeighbourSurvivors {
  SessionId session_id{};
  std::vector<uint8_t> survivors;
  Digest input_root{};
  std::vector<Digest> path;
  friend bool operator==(const NeighbourSurvivors&, const NeighbourSurvivors&) = default;
};

// R3, node to coordinator.
struct ConsistencySignature {
  SessionId session_id{};
  NodeId node_id;
  Digest h3{};
  Signature signature{};  // over H0, H1, H2, H3
  friend bool operator==(const ConsistencySignature&, const ConsistencySignature&) = default;
};

struct NodeSignature {
  NodeId node_id;
  Signature signature{};
  friend bool operator==(const NodeSignature&, const NodeSignature&) = default;
};

// R4, coordinator to node: at least t signatures on one H3, sorted by node; in a regular graph, of
// the receiver's neighbours.
struct SurvivorSignatures {
  SessionId session_id{};
  Digest h3{};
  std::vector<NodeSignature> signatures;
  friend bool operator==(const SurvivorSignatures&, const SurvivorSignatures&) = default;
};

enum class ShareKind : uint8_t { kSelfMask = 1, kMaskKey = 2 };  // of b, of s

struct UnmaskShare {
  NodeId node_id;  // whose secret
  ShareKind kind = ShareKind::kSelfMask;
  Share share{};
  friend bool operator==(const UnmaskShare&, const UnmaskShare&) = default;
};

// R4, node to coordinator: shares of b of U3, shares of s of U2 \ U3; sorted by node.
struct UnmaskShares {
  SessionId session_id{};
  NodeId node_id;
  std::vector<UnmaskShare> shares;
  Signature signature{};  // over H0..H3 and the shares
  friend bool operator==(const UnmaskShares&, const UnmaskShares&) = default;
};

// What the run has published of any one node's data up to and with this result.
struct PrivacySpent {
  NoiseMechanism mechanism = NoiseMechanism::kNone;
  double noise_multiplier = 0;
  double clip_norm = 0;
  double epsilon = 0;  // 0 without a mechanism: nothing is promised
  double delta = 0;
  friend bool operator==(const PrivacySpent&, const PrivacySpent&) = default;
};

// R5, coordinator to everybody: one entry of the append-only chain of results (result_chain.h).
struct RoundResult {
  std::string federation_id;
  std::string run_id;
  uint64_t round = 0;
  SessionId session_id{};
  uint64_t sequence = 0;   // 0 for the first entry
  Digest previous_hash{};  // ResultHash() of the entry before; zero for the first
  Digest h3{};
  Digest sum_hash{};
  std::vector<NodeId> contributors;  // U3
  Digest adapter_hash{};             // the new adapter
  PrivacySpent privacy;
  Signature signature{};
  friend bool operator==(const RoundResult&, const RoundResult&) = default;
};

std::vector<uint8_t> Encode(const SessionConfig& message);
std::vector<uint8_t> Encode(const AdvertiseKeys& message);
std::vector<uint8_t> Encode(const KeyList& message);
std::vector<uint8_t> Encode(const ShareKeys& message);
std::vector<uint8_t> Encode(const ShareDelivery& message);
std::vector<uint8_t> Encode(const MaskedInputHeader& message);
std::vector<uint8_t> Encode(const MaskedInputChunk& message);
std::vector<uint8_t> Encode(const SurvivorList& message);
std::vector<uint8_t> Encode(const ConsistencySignature& message);
std::vector<uint8_t> Encode(const SurvivorSignatures& message);
std::vector<uint8_t> Encode(const UnmaskShares& message);
std::vector<uint8_t> Encode(const RoundResult& message);
std::vector<uint8_t> Encode(const NeighbourList& message);
std::vector<uint8_t> Encode(const NeighbourDelivery& message);
std::vector<uint8_t> Encode(const NeighbourSurvivors& message);

absl::StatusOr<SessionConfig> DecodeSessionConfig(std::span<const uint8_t> bytes);
absl::StatusOr<AdvertiseKeys> DecodeAdvertiseKeys(std::span<const uint8_t> bytes);
absl::StatusOr<KeyList> DecodeKeyList(std::span<const uint8_t> bytes);
absl::StatusOr<ShareKeys> DecodeShareKeys(std::span<const uint8_t> bytes);
absl::StatusOr<ShareDelivery> DecodeShareDelivery(std::span<const uint8_t> bytes);
absl::StatusOr<MaskedInputHeader> DecodeMaskedInputHeader(std::span<const uint8_t> bytes);
absl::StatusOr<MaskedInputChunk> DecodeMaskedInputChunk(std::span<const uint8_t> bytes);
absl::StatusOr<SurvivorList> DecodeSurvivorList(std::span<const uint8_t> bytes);
absl::StatusOr<ConsistencySignature> DecodeConsistencySignature(std::span<const uint8_t> bytes);
absl::StatusOr<SurvivorSignatures> DecodeSurvivorSignatures(std::span<const uint8_t> bytes);
absl::StatusOr<UnmaskShares> DecodeUnmaskShares(std::span<const uint8_t> bytes);
absl::StatusOr<RoundResult> DecodeRoundResult(std::span<const uint8_t> bytes);
absl::StatusOr<NeighbourList> DecodeNeighbourList(std::span<const uint8_t> bytes);
absl::StatusOr<NeighbourDelivery> DecodeNeighbourDelivery(std::span<const uint8_t> bytes);
absl::StatusOr<NeighbourSurvivors> DecodeNeighbourSurvivors(std::span<const uint8_t> bytes);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_MESSAGES_H_
