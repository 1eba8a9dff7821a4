#ifndef CHOIR_SECURE_AGG_CORE_MESSAGE_FIELDS_H_
#define CHOIR_SECURE_AGG_CORE_MESSAGE_FIELDS_H_

#include <cstdint>

#include "secure-agg/core/messages.h"

// The fields of each message in the order of the wire: one description for writing and reading.
// Archive is WireWriter (with a const message) or WireReader.
namespace choir::secagg {

inline uint8_t KindOf(const SessionConfig&) {
  return 1;
}
inline uint8_t KindOf(const AdvertiseKeys&) {
  return 2;
}
inline uint8_t KindOf(const KeyList&) {
  return 3;
}
inline uint8_t KindOf(const ShareKeys&) {
  return 4;
}
inline uint8_t KindOf(const ShareDelivery&) {
  return 5;
}
inline uint8_t KindOf(const MaskedInputHeader&) {
  return 6;
}
inline uint8_t KindOf(const MaskedInputChunk&) {
  return 7;
}
inline uint8_t KindOf(const SurvivorList&) {
  return 8;
}
inline uint8_t KindOf(const ConsistencySignature&) {
  return 9;
}
inline uint8_t KindOf(const SurvivorSignatures&) {
  return 10;
}
inline uint8_t KindOf(const UnmaskShares&) {
  return 11;
}
inline uint8_t KindOf(const RoundResult&) {
  return 12;
}
inline uint8_t KindOf(const NeighbourList&) {
  return 13;
}
inline uint8_t KindOf(const NeighbourDelivery&) {
  return 14;
}
inline uint8_t KindOf(const NeighbourSurvivors&) {
  return 15;
}

template <typename M, typename T>
concept MessageOf = std::is_same_v<std::remove_const_t<M>, T>;

inline constexpr auto kNodeIdField = [](auto& a, auto& id) { a.Text(id, 1, kMaxIdBytes); };

// Everything but the signature: what H0 covers.
template <typename A, MessageOf<SessionConfig> M>
void ConfigBody(A& a, M& m) {
  a.Text(m.federation_id, 1, kMaxIdBytes);
  a.Text(m.run_id, 1, kMaxIdBytes);
  a.Number(m.round);
  a.Fixed(m.session_id);
  a.Number(m.round_counter);
  a.Fixed(m.base_hash);
  a.Fixed(m.adapter_hash);
  a.Fixed(m.lora_digest);
  a.Number(m.delta_length);
  a.Number(m.extra_slots);
  a.Number(m.word_bits);
  a.Number(m.value_bits);
  a.Real(m.codec_range);
  a.Real(m.clip_norm);
  a.Number(m.max_weight);
  a.Number(m.min_cohort);
  a.Number(m.max_cohort);
  // Any number decodes here, so that a weaker rule is refused by its own reason, not as garbage.
  a.Enum(m.threshold_rule, 0, 255);
  a.Enum(m.graph, 0, 255);
  if (m.graph == GraphKind::kRegular) {
    a.Number(m.corrupt_percent);
    a.Number(m.dropout_percent);
  }
  a.Enum(m.prg, 0, 255);
  a.Enum(m.privacy.mechanism, 0, 255);
  a.Real(m.privacy.noise_multiplier);
  a.Real(m.privacy.delta);
  a.Real(m.privacy.clip_bit_noise);
  a.Number(m.deadlines.advertise_ms);
  a.Number(m.deadlines.share_ms);
  a.Number(m.deadlines.input_ms);
  a.Number(m.deadlines.sign_ms);
  a.Number(m.deadlines.unmask_ms);
  a.Number(m.expires_at_ms);
}

template <typename A, MessageOf<SessionConfig> M>
void Fields(A& a, M& m) {
  ConfigBody(a, m);
  a.Fixed(m.signature);
}

template <typename A, MessageOf<AdvertiseKeys> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  kNodeIdField(a, m.node_id);
  a.Fixed(m.share_key);
  a.Fixed(m.mask_key);
  a.Fixed(m.self_mask_commitment);
  a.Fixed(m.nonce);
  a.Fixed(m.signature);
}

inline constexpr auto kEntryFields = [](auto& a, auto& entry) {
  a.Fixed(entry.device_key);
  a.Blob(entry.credential, kMaxCredentialBytes);
  Fields(a, entry.keys);
};

inline constexpr auto kPathFields = [](auto& a, auto& path) {
  a.List(path, kMaxPathLength, [](auto& archive, auto& digest) { archive.Fixed(digest); });
};

template <typename A, MessageOf<KeyList> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  a.List(m.entries, kMaxMembers, kEntryFields);
}

// Everything but the entries: what H1 covers.
template <typename A, MessageOf<NeighbourList> M>
void NeighbourListHead(A& a, M& m) {
  a.Fixed(m.session_id);
  a.Number(m.cohort_size);
  a.Number(m.degree);
  a.Number(m.threshold);
  a.Fixed(m.root);
}

template <typename A, MessageOf<NeighbourList> M>
void Fields(A& a, M& m) {
  NeighbourListHead(a, m);
  a.List(m.entries, kMaxMembers, [](auto& archive, auto& neighbour) {
    archive.Number(neighbour.place);
    kEntryFields(archive, neighbour.entry);
    kPathFields(archive, neighbour.path);
  });
}

inline constexpr auto kSealedShareFields = [](auto& a, auto& share) {
  kNodeIdField(a, share.node_id);
  a.Fixed(share.sealed);
};

// Everything but the signature.
template <typename A, MessageOf<ShareKeys> M>
void ShareKeysBody(A& a, M& m) {
  a.Fixed(m.session_id);
  kNodeIdField(a, m.node_id);
  a.List(m.shares, kMaxMembers, kSealedShareFields);
}

template <typename A, MessageOf<ShareKeys> M>
void Fields(A& a, M& m) {
  ShareKeysBody(a, m);
  a.Fixed(m.signature);
}

template <typename A, MessageOf<ShareDelivery> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  a.List(m.members, kMaxMembers, kNodeIdField);
  a.List(m.shares, kMaxMembers, kSealedShareFields);
}

template <typename A, MessageOf<NeighbourDelivery> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  a.Blob(m.members, kMaxMembers / 8);
  a.List(m.shares, kMaxMembers, kSealedShareFields);
}

template <typename A, MessageOf<MaskedInputHeader> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  kNodeIdField(a, m.node_id);
  a.Number(m.total_bytes);
  a.Number(m.chunk_bytes);
  a.Fixed(m.input_hash);
  a.Fixed(m.signature);
}

template <typename A, MessageOf<MaskedInputChunk> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  kNodeIdField(a, m.node_id);
  a.Number(m.sequence);
  a.Fixed(m.running_hash);
  a.Blob(m.data, kMaxChunkBytes);
}

template <typename A, MessageOf<SurvivorList> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  a.List(m.survivors, kMaxMembers, [](auto& archive, auto& survivor) {
    kNodeIdField(archive, survivor.node_id);
    archive.Fixed(survivor.input_hash);
  });
  a.List(m.dropped, kMaxMembers, kNodeIdField);
}

// Everything but the path: what H3 covers.
template <typename A, MessageOf<NeighbourSurvivors> M>
void NeighbourSurvivorsHead(A& a, M& m) {
  a.Fixed(m.session_id);
  a.Blob(m.survivors, kMaxMembers / 8);
  a.Fixed(m.input_root);
}

template <typename A, MessageOf<NeighbourSurvivors> M>
void Fields(A& a, M& m) {
  NeighbourSurvivorsHead(a, m);
  kPathFields(a, m.path);
}

template <typename A, MessageOf<ConsistencySignature> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  kNodeIdField(a, m.node_id);
  a.Fixed(m.h3);
  a.Fixed(m.signature);
}

template <typename A, MessageOf<SurvivorSignatures> M>
void Fields(A& a, M& m) {
  a.Fixed(m.session_id);
  a.Fixed(m.h3);
  a.List(m.signatures, kMaxMembers, [](auto& archive, auto& entry) {
    kNodeIdField(archive, entry.node_id);
    archive.Fixed(entry.signature);
  });
}

// Everything but the signature.
template <typename A, MessageOf<UnmaskShares> M>
void UnmaskBody(A& a, M& m) {
  a.Fixed(m.session_id);
  kNodeIdField(a, m.node_id);
  a.List(m.shares, kMaxMembers, [](auto& archive, auto& entry) {
    kNodeIdField(archive, entry.node_id);
    archive.Enum(entry.kind, 1, 2);
    archive.Fixed(entry.share);
  });
}

template <typename A, MessageOf<UnmaskShares> M>
void Fields(A& a, M& m) {
  UnmaskBody(a, m);
  a.Fixed(m.signature);
}

// Everything but the signature.
template <typename A, MessageOf<RoundResult> M>
void ResultBody(A& a, M& m) {
  a.Text(m.federation_id, 1, kMaxIdBytes);
  a.Text(m.run_id, 1, kMaxIdBytes);
  a.Number(m.round);
  a.Fixed(m.session_id);
  a.Number(m.sequence);
  a.Fixed(m.previous_hash);
  a.Fixed(m.h3);
  a.Fixed(m.sum_hash);
  a.List(m.contributors, kMaxMembers, kNodeIdField);
  a.Fixed(m.adapter_hash);
  a.Enum(m.privacy.mechanism, 0, 255);
  a.Real(m.privacy.noise_multiplier);
  a.Real(m.privacy.clip_norm);
  a.Real(m.privacy.epsilon);
  a.Real(m.privacy.delta);
}

template <typename A, MessageOf<RoundResult> M>
void Fields(A& a, M& m) {
  ResultBody(a, m);
  a.Fixed(m.signature);
}

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_MESSAGE_FIELDS_H_
