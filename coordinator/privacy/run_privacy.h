#ifndef CHOIR_COORDINATOR_PRIVACY_RUN_PRIVACY_H_
#define CHOIR_COORDINATOR_PRIVACY_RUN_PRIVACY_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "choir/v1/run.pb.h"
#include "privacy/accountant.h"
#include "secure-agg/core/messages.h"

namespace choir::coordinator {

// What a run has spent of its privacy budget, and the clip norm of its next session. A value: its
// owner stores it in the same transaction as the session that it pays for, before any node sees
// that session. A round that opened a session is paid for, whatever becomes of it; nothing is ever
// given back.
class RunPrivacy {
 public:
  // Of a new run, or of one without differential privacy.
  static RunPrivacy Fresh(const v1::RunConfig& config);
  // DATA_LOSS unless `bytes` is what Encode() made: a run never begins its budget anew. Empty bytes
  // are fine for a run without differential privacy.
  static absl::StatusOr<RunPrivacy> Decode(std::string_view bytes, const v1::RunConfig& config);
  [[nodiscard]] std::string Encode() const;

  // The run promises something.
  [[nodiscard]] bool promises() const { return promises_; }
  [[nodiscard]] double clip_norm() const { return clip_norm_; }
  // Spent so far, at the run's delta; 0 where nothing is promised.
  [[nodiscard]] double Epsilon() const;
  // FAILED_PRECONDITION (kPrivacyBudgetExhausted) with the numbers, if a session of this cost would
  // pass the budget.
  [[nodiscard]] absl::Status CheckRoom(uint64_t round, const privacy::RdpCurve& cost) const;
  // Pays for a round's sessions, once: each node is in at most one of them.
  absl::Status Debit(uint64_t round, const privacy::RdpCurve& cost);
  // After a round in which this share of nodes was not clipped; does nothing with a fixed clip
  // norm.
  void AdaptClip(double unclipped);
  // What the signed result of a round says.
  [[nodiscard]] secagg::PrivacySpent Spent() const;

 private:
  explicit RunPrivacy(const v1::RunConfig& config);

  v1::PrivacySpec spec_;
  double first_clip_norm_ = 1;
  bool promises_ = false;
  privacy::RdpCurve spent_;
  uint64_t debited_round_ = 0;
  double clip_norm_ = 1;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_PRIVACY_RUN_PRIVACY_H_
