#ifndef CHOIR_COORDINATOR_SERVICE_MEMBERS_H_
#define CHOIR_COORDINATOR_SERVICE_MEMBERS_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/random.h"
#include "choir/v1/enrolment.pb.h"
#include "choir/v1/federation.pb.h"
#include "choir/v1/node.pb.h"
#include "choir/v1/operator.pb.h"
#include "coordinator/service/federation.h"
#include "coordinator/service/token_bucket.h"
#include "coordinator/store/store.h"

namespace choir::coordinator {

// Where nodes reach the coordinator, as invites tell them.
struct PublicAddresses {
  std::string enrolment;    // host:port
  std::string coordinator;  // host:port
};

// Who belongs to the federation: invites, enrolment, certificates, revocation. Thread-safe.
class Members {
 public:
  // All references must outlive it.
  static absl::StatusOr<std::unique_ptr<Members>> Open(const Federation& federation,
                                                       const DataFolder& folder, Store& store,
                                                       const Clock& clock, RandomSource& random);

  // Before the first invite.
  void SetAddresses(PublicAddresses addresses);

  // As EnrolmentService.Enrol says.
  absl::StatusOr<v1::EnrolResponse> Enrol(const v1::EnrolRequest& request);
  absl::StatusOr<v1::RenewCertificateResponse> Renew(const std::string& node_id);
  // INVALID_ARGUMENT for a life outside 60 s .. 7 days.
  absl::StatusOr<v1::CreateInviteResponse> CreateInvite(uint32_t valid_s);

  // A call of a node: known, not revoked (PERMISSION_DENIED), not too fast (RESOURCE_EXHAUSTED).
  absl::Status Admit(const std::string& node_id);
  [[nodiscard]] std::optional<NodeRecord> Find(const std::string& node_id) const;
  [[nodiscard]] std::vector<NodeRecord> List() const;
  [[nodiscard]] uint64_t Count() const;
  [[nodiscard]] bool IsRevoked(const std::string& node_id) const;

  [[nodiscard]] v1::Manifest manifest() const;
  [[nodiscard]] v1::SignedDocument manifest_document() const;
  [[nodiscard]] uint64_t manifest_serial() const;
  // As OperatorService.PublishManifest says.
  absl::Status PublishManifest(const v1::SignedDocument& document);

  // Makes durable when nodes were last seen; that need not be so at each call.
  absl::Status Flush();

 private:
  Members(const Federation& federation, DataFolder folder, Store& store, const Clock& clock,
          RandomSource& random);
  void TakeManifest(v1::SignedDocument document, v1::Manifest manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckProof(const v1::EnrolRequest& request) const;
  absl::Status CheckInvite(const Digest& token_hash, const std::string& node_id);
  absl::StatusOr<std::string> IssueCertificates(std::string_view device_key);
  v1::SignedDocument IssueCredential(std::string_view device_key);

  struct Caller {
    TokenBucket bucket;
    absl::Time last_seen;
    bool dirty = false;
  };

  const Federation& federation_;
  const DataFolder folder_;
  Store& store_;
  const Clock& clock_;
  RandomSource& random_;

  mutable absl::Mutex mu_;
  PublicAddresses addresses_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, NodeRecord> nodes_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Caller> callers_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> revoked_ ABSL_GUARDED_BY(mu_);
  v1::SignedDocument manifest_document_ ABSL_GUARDED_BY(mu_);
  v1::Manifest manifest_ ABSL_GUARDED_BY(mu_);
  TokenBucket enrolments_ ABSL_GUARDED_BY(mu_);
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_MEMBERS_H_
