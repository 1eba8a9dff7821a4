#ifndef CHOIR_COORDINATOR_SERVICE_TEST_FEDERATION_H_
#define CHOIR_COORDINATOR_SERVICE_TEST_FEDERATION_H_

#include <string>

#include "base/random.h"
#include "choir/v1/run.pb.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/service/federation.h"
#include "engine/lora/adapter.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/keys.h"

namespace choir::coordinator {

// A federation in a folder of its own, as `choir federation init` would make it, for tests.
class TestFederation {
 public:
  TestFederation(std::string folder, absl::Time now);

  [[nodiscard]] const DataFolder& folder() const { return folder_; }
  [[nodiscard]] const std::string& root_pem() const { return root_pem_; }
  // An operator's certificate and key.
  [[nodiscard]] rpc::TlsIdentity Operator();
  // A manifest that follows the first one, with this node revoked.
  [[nodiscard]] v1::SignedDocument ManifestRevoking(const std::string& node_id, uint64_t serial);

 private:
  v1::Manifest MakeManifest() const;

  SystemRandom random_;
  absl::Time now_;
  DataFolder folder_;
  trust::SigningKey authority_;
  trust::SigningKey coordinator_;
  trust::SigningKey enrolment_;
  std::string root_pem_;
};

// Two pairs of unlike shapes, B zero: what a run starts from.
engine::Adapter TestAdapter();
// Puts a base model and the adapter into `blobs`; a run over them of `rounds` rounds and cohorts of
// 3 to 4, with waits of a second or two.
v1::RunConfig TestRun(BlobStore& blobs, const std::string& strategy, uint32_t rounds);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TEST_FEDERATION_H_
