#ifndef CHOIR_SECURE_AGG_CORE_TRANSCRIPT_H_
#define CHOIR_SECURE_AGG_CORE_TRANSCRIPT_H_

#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/sha256.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/signing.h"

// What the parties of a session agree on, hashed step by step, and what each signs. Every hash and
// every signature begins with a label of its own, so that none can stand for another.
namespace choir::secagg {

Digest HashConfig(const SessionConfig& config);                         // H0; not the signature
Digest HashKeyList(const Digest& h0, const KeyList& list);              // H1
Digest HashMembers(const Digest& h1, std::span<const NodeId> members);  // H2
Digest HashSurvivors(const Digest& h2, const SurvivorList& list);       // H3

// The same steps in a regular graph, where each node sees a part only.
Digest HashNeighbourList(const Digest& h0, const NeighbourList& list);      // H1; not the entries
Digest HashMemberBits(const Digest& h1, std::span<const uint8_t> members);  // H2
Digest HashNeighbourSurvivors(const Digest& h2, const NeighbourSurvivors& message);  // H3; no path
// Leaves of the two trees: a cohort's keys by place, its inputs by place among the survivors.
Digest HashKeyLeaf(uint32_t place, const KeyListEntry& entry);
Digest HashInputLeaf(uint32_t place, const Digest& input_hash);
// What the ring's order is drawn from: fixed by H1, unknown before the last key was in.
Digest GraphSeed(const Digest& h1);

// SHA-256(H0 || H1): the salt of every key that two nodes share.
Digest PairSalt(const Digest& h0, const Digest& h1);

std::vector<uint8_t> ConfigSigningBytes(const Digest& h0);
std::vector<uint8_t> AdvertiseSigningBytes(const Digest& h0, const AdvertiseKeys& message);
std::vector<uint8_t> ShareSigningBytes(const Digest& h0, const Digest& h1,
                                       const ShareKeys& message);
std::vector<uint8_t> InputSigningBytes(const Digest& h0, const Digest& h1, const Digest& h2,
                                       const MaskedInputHeader& message);
std::vector<uint8_t> ConsistencySigningBytes(const Digest& h0, const Digest& h1, const Digest& h2,
                                             const Digest& h3);
std::vector<uint8_t> UnmaskSigningBytes(const Digest& h3, const UnmaskShares& message);
std::vector<uint8_t> ResultSigningBytes(const RoundResult& message);

// Fills in config.signature.
absl::Status SignConfig(const Signer& coordinator, SessionConfig& config);
// What a configuration must be whoever reads it: known ids, sizes that fit, q <= b - ceil(log2 n),
// finite positive scales. kBadConfig, kThresholdLowered.
absl::Status ValidateConfig(const SessionConfig& config);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_TRANSCRIPT_H_
