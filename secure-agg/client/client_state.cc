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

CohortGraph ClientSession::State::graph() const {
  return {config.graph, config.threshold_rule, static_cast<uint32_t>(list.entries.size())};
}

uint32_t ClientSession::State::needed() const {
  return std::max(graph().Threshold(), min_cohort);
}

MaskShape ClientSession::State::mask_shape() const {
  return {config.prg, config.word_bits, NumWords(CodecOf(config))};
}

absl::Status ClientSession::State::AdoptKeyList(KeyList accepted) {
  list = std::move(accepted);
  h1 = HashKeyList(h0, list);
  const std::optional<uint32_t> own = IndexOf(list, self);
  if (!own.has_value()) {
    return Refusal(AbortReason::kOwnEntryMissing, "this node is not in the key list");
  }
  index = *own;
  const CohortGraph cohort = graph();
  const Digest salt = PairSalt(h0, h1);
  auto split = [&](const SecretBytes<32>& secret, std::string_view label) {
    return SplitSecret(secret, cohort.Threshold(), cohort.size(),
                       DeriveSecret(seed.Expose(), salt, label));
  };
  std::vector<SecretBytes<32>> of_s = split(keys.s, "choir/client/split-s");
  std::vector<SecretBytes<32>> of_b = split(keys.b, "choir/client/split-b");
  own_shares.clear();
  for (uint32_t holder = 0; holder < cohort.size(); ++holder) {
    const uint32_t number = cohort.ShareNumber(index, holder);
    own_shares.push_back({std::move(of_s[number - 1]), std::move(of_b[number - 1])});
  }
  return absl::OkStatus();
}

absl::Status ClientSession::State::AdoptDelivery(const ShareDelivery& accepted) {
  CHOIR_ASSIGN_OR_RETURN(members, IndicesOf(list, accepted.members, "shareholders"));
  h2 = HashMembers(h1, accepted.members);
  const Digest salt = PairSalt(h0, h1);
  held.clear();
  held.resize(list.entries.size());
  held[index] = SharePair{own_shares[index].mask_key.Clone(), own_shares[index].self_mask.Clone()};
  for (const SealedShare& sealed : accepted.shares) {
    const std::optional<uint32_t> from = IndexOf(list, sealed.node_id);
    if (!from.has_value()) {
      return Refusal(AbortReason::kUnknownMember,
                     "a sealed share is by a node not in the key list");
    }
    const PublicKey& peer = list.entries[*from].keys.share_key;
    CHOIR_ASSIGN_OR_RETURN(const SecretBytes<32> key, SealKey(keys.share, peer, false, salt));
    absl::StatusOr<SharePair> opened =
        OpenShares(key, sealed.sealed, SealContext(h0, h1, sealed.node_id, self));
    // A sender whose shares do not open is done without; others hold shares of its secrets, too.
    if (opened.ok()) held[*from] = *std::move(opened);
  }
  return absl::OkStatus();
}

void ClientSession::State::AdoptSurvivors(SurvivorList accepted) {
  h3 = HashSurvivors(h2, accepted);
  survivors = std::move(accepted.survivors);
  dropped = std::move(accepted.dropped);
}

void ClientSession::State::Erase() {
  seed = SecretBytes<32>();
  keys = ClientKeys();
  own_shares.clear();
  held.clear();
  stream.reset();
  list = KeyList();
  members.clear();
  survivors.clear();
  dropped.clear();
  key_list_bytes.clear();
  delivery_bytes.clear();
  survivors_bytes.clear();
}

}  // namespace choir::secagg
