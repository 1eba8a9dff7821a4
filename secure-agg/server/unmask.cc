#include <algorithm>
#include <iterator>
#include <map>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/shamir.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/server/liars.h"
#include "secure-agg/server/server_state.h"

namespace choir::secagg {
namespace {

using State = ServerSession::State;

struct HeldShare {
  uint32_t number = 0;
  SecretBytes<32> value;
  uint32_t holder = 0;  // place
};

// What opening one owner's secret brings.
struct Opened {
  absl::Status status;
  std::vector<Mask> masks;  // that come off
  std::vector<Mismatch> mismatches;
};

// The shares of one owner's secret that the answers hold, by holder's place.
std::vector<HeldShare> SharesOf(const State& state, const NodeId& owner, Opened& out) {
  std::vector<HeldShare> shares;
  uint32_t number = 0;
  const uint32_t place = *IndexOf(state.list, owner);
  for (const uint32_t holder : state.graph.Holders(place)) {
    ++number;
    const Participant& node = state.nodes.at(state.list.entries[holder].keys.node_id);
    if (!node.answered.has_value()) continue;
    const auto& answer = node.answered->shares;
    const auto found = std::ranges::lower_bound(answer, owner, {}, &UnmaskShare::node_id);
    if (found == answer.end() || found->node_id != owner) {
      out.mismatches.push_back({holder, place});
      continue;
    }
    shares.push_back({number, SecretBytes<32>(found->share), holder});
  }
  return shares;
}

// Interpolators are the same for every secret that the same nodes hold shares of: in a complete
// graph nearly all.
class InterpolatorCache {
 public:
  // The pointer stays good as long as the cache.
  absl::StatusOr<const Interpolator*> For(const std::vector<uint32_t>& numbers) {
    {
      const absl::MutexLock lock(&mu_);
      if (const auto found = cache_.find(numbers); found != cache_.end()) return &found->second;
    }
    CHOIR_ASSIGN_OR_RETURN(Interpolator made, Interpolator::Create(numbers));
    const absl::MutexLock lock(&mu_);
    return &cache_.emplace(numbers, std::move(made)).first->second;
  }

 private:
  absl::Mutex mu_;
  std::map<std::vector<uint32_t>, Interpolator> cache_ ABSL_GUARDED_BY(mu_);
};

// Of the shares behind the t first of the ring, which opened `secret`: those that are not on its
// polynomial, because they do not open it together with t - 1 that are.
absl::Status FindWrong(std::span<const HeldShare> shares, size_t first, uint32_t threshold,
                       const SecretBytes<32>& secret, uint32_t owner, Opened& out) {
  std::vector<uint32_t> numbers(threshold);
  std::vector<const SecretBytes<32>*> values(threshold);
  const auto take = [&](size_t at, size_t index) {
    numbers[at] = shares[index % shares.size()].number;
    values[at] = &shares[index % shares.size()].value;
  };
  for (size_t i = 1; i < threshold; ++i) take(i, first + i);
  for (size_t i = threshold; i < shares.size(); ++i) {
    take(0, first + i);
    CHOIR_ASSIGN_OR_RETURN(const Interpolator interpolator, Interpolator::Create(numbers));
    if (EqualConstantTime(interpolator.Combine(values).Expose(), secret.Expose())) continue;
    out.mismatches.push_back({shares[(first + i) % shares.size()].holder, owner});
  }
  return absl::OkStatus();
}

// Tries t neighbouring shares at each place of the ring of them, until `fits` knows the secret:
// lying shares are got round as long as t honest ones stand together; one liar among t + 1 never
// stops it.
template <typename Fits>
absl::StatusOr<SecretBytes<32>> OpenSecret(const State& state, const NodeId& owner,
                                           InterpolatorCache& cache, Opened& out, Fits fits) {
  const uint32_t threshold = state.graph.threshold();
  const std::vector<HeldShare> shares = SharesOf(state, owner, out);
  if (shares.size() < threshold) {
    return Refusal(AbortReason::kTooFewUnmaskShares,
                   fmt::format("{} shares of a secret, {} are needed", shares.size(), threshold));
  }
  const size_t places = shares.size() == threshold ? 1 : shares.size();
  for (size_t first = 0; first < places; ++first) {
    std::vector<uint32_t> numbers;
    std::vector<const SecretBytes<32>*> values;
    for (size_t i = 0; i < threshold; ++i) {
      const HeldShare& share = shares[(first + i) % shares.size()];
      numbers.push_back(share.number);
      values.push_back(&share.value);
    }
    CHOIR_ASSIGN_OR_RETURN(const Interpolator* interpolator, cache.For(numbers));
    SecretBytes<32> secret = interpolator->Combine(values);
    if (!fits(secret)) continue;
    // That some are wrong shows only when the first ones do not fit: others do no harm.
    if (first > 0) {
      CHOIR_RETURN_IF_ERROR(
          FindWrong(shares, first, threshold, secret, *IndexOf(state.list, owner), out));
    }
    return secret;
  }
  return Refusal(AbortReason::kBadShare,
                 fmt::format("no {} of {} shares open the secret that was committed to", threshold,
                             shares.size()));
}

// b of a survivor: its own mask comes off.
absl::Status AddSelfMask(const State& state, const NodeId& id, InterpolatorCache& cache,
                         Opened& out) {
  const Digest& commitment = state.nodes.at(id).advertised->self_mask_commitment;
  CHOIR_ASSIGN_OR_RETURN(
      const SecretBytes<32> b, OpenSecret(state, id, cache, out, [&](const SecretBytes<32>& found) {
        return CHOIR_SEEDED_BUG(26) || CommitSelfMask(found, state.h0) == commitment;
      }));
  out.masks.push_back({SelfMaskKey(b, PairSalt(state.h0, state.h1), state.mask_shape()), false});
  return absl::OkStatus();
}

// s of a dropped node: the masks that the survivors share with it have no partner, and come off.
absl::Status AddPairMasks(const State& state, const NodeId& id, InterpolatorCache& cache,
                          Opened& out) {
  const PublicKey& mask_key = state.nodes.at(id).advertised->mask_key;
  KeyPair opened;
  CHOIR_RETURN_IF_ERROR(OpenSecret(state, id, cache, out, [&](const SecretBytes<32>& found) {
                          opened = MakeKeyPair(MaskSecretOf(found, state.h0));
                          return opened.public_key == mask_key;
                        }).status());
  const uint32_t dropped = *IndexOf(state.list, id);
  const std::vector<uint32_t> neighbours = state.graph.Neighbours(dropped);
  for (const Survivor& survivor : state.survivors.survivors) {
    const uint32_t index = *IndexOf(state.list, survivor.node_id);
    if (!std::ranges::binary_search(neighbours, index)) continue;
    const bool survivor_added = index < dropped;
    CHOIR_ASSIGN_OR_RETURN(
        SecretBytes<32> key,
        PairMaskKey(opened, state.nodes.at(survivor.node_id).advertised->mask_key, !survivor_added,
                    PairSalt(state.h0, state.h1), state.mask_shape()));
    out.masks.push_back({std::move(key), !survivor_added});
  }
  return absl::OkStatus();
}

// Of a regular graph, too: an owner's holders are its neighbours, and a holder's owners.
std::vector<NodeId> NameLiars(const State& state, std::span<const Opened> opened) {
  std::vector<Mismatch> all;
  for (const Opened& one : opened) {
    all.insert(all.end(), one.mismatches.begin(), one.mismatches.end());
  }
  if (all.empty()) return {};
  const auto holders = static_cast<uint32_t>(state.graph.Holders(0).size());
  std::vector<NodeId> names;
  for (const uint32_t place : LiarsAmong(all, MostLiars(holders, state.graph.threshold()))) {
    names.push_back(state.list.entries[place].keys.node_id);
  }
  return names;
}

}  // namespace

absl::Status RemoveMasks(State& state, ParallelFor parallel) {
  InterpolatorCache cache;
  const size_t survivors = state.survivors.survivors.size();
  std::vector<Opened> opened(survivors + state.survivors.dropped.size());
  parallel(opened.size(), [&](size_t i) {
    Opened& out = opened[i];
    out.status = i < survivors
                     ? AddSelfMask(state, state.survivors.survivors[i].node_id, cache, out)
                     : AddPairMasks(state, state.survivors.dropped[i - survivors], cache, out);
  });
  state.liars = NameLiars(state, opened);
  std::vector<Mask> masks;
  for (Opened& one : opened) {
    CHOIR_RETURN_IF_ERROR(one.status);
    std::ranges::move(one.masks, std::back_inserter(masks));
  }
  // Only now: a session that cannot be opened keeps its accumulator as it is.
  ApplyMasks(state.accumulator, state.config.word_bits, state.config.prg, masks, parallel);
  return absl::OkStatus();
}

}  // namespace choir::secagg
