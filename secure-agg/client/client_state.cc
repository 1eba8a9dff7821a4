#include "secure-agg/client/client_state.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/shamir.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {
namespace {

SecretBytes<32> DeriveScalar(const SecretBytes<32>& seed, const Digest& h0,
                             std::string_view label) {
  SecretBytes<64> wide;
  HkdfSha256(seed.Expose(), h0, AsBytes(label), wide.ExposeMutable());
  return ScalarFromBytes(wide);
}

}  // namespace

ClientKeys DeriveKeys(const SecretBytes<32>& seed, const Digest& h0) {
  ClientKeys keys;
  keys.s = DeriveScalar(seed, h0, "choir/client/s");
  keys.b = DeriveScalar(seed, h0, "choir/client/b");
  keys.share = MakeKeyPair(DeriveSecret(seed.Expose(), h0, "choir/client/c"));
  keys.mask = MakeKeyPair(MaskSecretOf(keys.s, h0));
  HkdfSha256(seed.Expose(), h0, AsBytes("choir/client/nonce"), keys.nonce);
  return keys;
}

absl::StatusOr<AnyKeyList> DecodeKeys(GraphKind graph, std::span<const uint8_t> bytes) {
  if (graph == GraphKind::kRegular) return DecodeNeighbourList(bytes);
  return DecodeKeyList(bytes);
}

absl::StatusOr<AnyDelivery> DecodeDelivery(GraphKind graph, std::span<const uint8_t> bytes) {
  if (graph == GraphKind::kRegular) return DecodeNeighbourDelivery(bytes);
  return DecodeShareDelivery(bytes);
}

absl::StatusOr<AnySurvivors> DecodeSurvivors(GraphKind graph, std::span<const uint8_t> bytes) {
  if (graph == GraphKind::kRegular) return DecodeNeighbourSurvivors(bytes);
  return DecodeSurvivorList(bytes);
}

uint32_t ClientSession::State::needed() const {
  return std::max(graph.shape().quorum, min_cohort);
}

MaskShape ClientSession::State::mask_shape() const {
  return {config.prg, config.word_bits, NumWords(CodecOf(config))};
}

const NodeId& ClientSession::State::IdOf(uint32_t listed) const {
  return list.entries[listed].keys.node_id;
}

absl::Status ClientSession::State::AdoptKeyList(AnyKeyList accepted) {
  uint32_t size = 0;
  places.clear();
  if (auto* all = std::get_if<KeyList>(&accepted)) {
    h1 = HashKeyList(h0, *all);
    list = std::move(*all);
    size = static_cast<uint32_t>(list.entries.size());
    for (uint32_t i = 0; i < size; ++i) places.push_back(i);
  } else {
    NeighbourList& near = std::get<NeighbourList>(accepted);
    h1 = HashNeighbourList(h0, near);
    size = near.cohort_size;
    list = {near.session_id, {}};
    for (NeighbourEntry& neighbour : near.entries) {
      places.push_back(neighbour.place);
      list.entries.push_back(std::move(neighbour.entry));
    }
  }
  graph = CohortGraph(ShapeOf(config, size), GraphSeed(h1));
  const std::optional<uint32_t> own = IndexOf(list, self);
  if (!own.has_value()) {
    return Refusal(AbortReason::kOwnEntryMissing, "this node is not in the key list");
  }
  index = *own;
  SplitOwnSecrets();
  return absl::OkStatus();
}

void ClientSession::State::SplitOwnSecrets() {
  const std::vector<uint32_t> holders = graph.Holders(places[index]);
  const Digest salt = PairSalt(h0, h1);
  auto split = [&](const SecretBytes<32>& secret, std::string_view label) {
    return SplitSecret(secret, graph.threshold(), static_cast<uint32_t>(holders.size()),
                       DeriveSecret(seed.Expose(), salt, label));
  };
  std::vector<SecretBytes<32>> of_s = split(keys.s, "choir/client/split-s");
  std::vector<SecretBytes<32>> of_b = split(keys.b, "choir/client/split-b");
  own_shares.clear();
  for (const uint32_t place : places) {
    const auto holder = std::ranges::lower_bound(holders, place);
    if (holder == holders.end() || *holder != place) {  // this node, where it holds none itself
      own_shares.emplace_back();
      continue;
    }
    const auto number = static_cast<size_t>(holder - holders.begin());
    own_shares.push_back({std::move(of_s[number]), std::move(of_b[number])});
  }
}

absl::Status ClientSession::State::AdoptDelivery(const AnyDelivery& accepted) {
  cohort_members.assign(graph.size(), false);
  members.clear();
  if (const auto* all = std::get_if<ShareDelivery>(&accepted)) {
    CHOIR_ASSIGN_OR_RETURN(members, IndicesOf(list, all->members, "shareholders"));
    for (const uint32_t member : members) cohort_members[member] = true;
    h2 = HashMembers(h1, all->members);
    OpenDelivered(all->shares);
    return absl::OkStatus();
  }
  const auto& near = std::get<NeighbourDelivery>(accepted);
  std::optional<std::vector<bool>> set = UnpackPlaces(near.members, graph.size());
  if (!set.has_value()) {
    return Refusal(AbortReason::kUnknownMember, "the set of shareholders is not of this cohort");
  }
  cohort_members = *std::move(set);
  for (uint32_t i = 0; i < places.size(); ++i) {
    if (cohort_members[places[i]]) members.push_back(i);
  }
  h2 = HashMemberBits(h1, near.members);
  OpenDelivered(near.shares);
  return absl::OkStatus();
}

void ClientSession::State::OpenDelivered(std::span<const SealedShare> shares) {
  const Digest salt = PairSalt(h0, h1);
  held.clear();
  held.resize(list.entries.size());
  if (graph.shape().complete()) {
    held[index] =
        SharePair{own_shares[index].mask_key.Clone(), own_shares[index].self_mask.Clone()};
  }
  for (const SealedShare& sealed : shares) {
    const std::optional<uint32_t> from = IndexOf(list, sealed.node_id);
    if (!from.has_value()) continue;  // CheckDelivery() refuses it
    const PublicKey& peer = list.entries[*from].keys.share_key;
    const absl::StatusOr<SecretBytes<32>> key = SealKey(keys.share, peer, false, salt);
    if (!key.ok()) continue;
    absl::StatusOr<SharePair> opened =
        OpenShares(*key, sealed.sealed, SealContext(h0, h1, sealed.node_id, self));
    // A sender whose shares do not open is done without; others hold shares of its secrets, too.
    if (opened.ok()) held[*from] = *std::move(opened);
  }
}

absl::Status ClientSession::State::AdoptSurvivors(const AnySurvivors& accepted) {
  survivors.clear();
  dropped.clear();
  if (const auto* all = std::get_if<SurvivorList>(&accepted)) {
    h3 = HashSurvivors(h2, *all);
    for (const Survivor& survivor : all->survivors) {
      const std::optional<uint32_t> listed = IndexOf(list, survivor.node_id);
      if (listed.has_value()) survivors.push_back(*listed);
    }
    CHOIR_ASSIGN_OR_RETURN(dropped, IndicesOf(list, all->dropped, "dropped nodes"));
    return absl::OkStatus();
  }
  const auto& near = std::get<NeighbourSurvivors>(accepted);
  const std::optional<std::vector<bool>> set = UnpackPlaces(near.survivors, graph.size());
  if (!set.has_value()) {
    return Refusal(AbortReason::kSurvivorsNotSubset, "the set of survivors is not of this cohort");
  }
  h3 = HashNeighbourSurvivors(h2, near);
  for (const uint32_t member : members) {
    ((*set)[places[member]] ? survivors : dropped).push_back(member);
  }
  return absl::OkStatus();
}

void ClientSession::State::Erase() {
  seed = SecretBytes<32>();
  keys = ClientKeys();
  own_shares.clear();
  held.clear();
  stream.reset();
  list = KeyList();
  places.clear();
  graph = CohortGraph();
  cohort_members.clear();
  members.clear();
  survivors.clear();
  dropped.clear();
  key_list_bytes.clear();
  delivery_bytes.clear();
  survivors_bytes.clear();
}

}  // namespace choir::secagg
