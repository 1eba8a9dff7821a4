#include "coordinator/service/test_federation.h"

#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "engine/lora/gguf_adapter.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"

namespace choir::coordinator {
namespace {

void Must(const absl::Status& status) {
  CHOIR_CHECK(status.ok());
}

}  // namespace

TestFederation::TestFederation(std::string folder, absl::Time now)
    : now_(now),
      folder_{std::move(folder)},
      authority_(trust::SigningKey::Generate(random_)),
      coordinator_(trust::SigningKey::Generate(random_)),
      enrolment_(trust::SigningKey::Generate(random_)) {
  const trust::Validity validity{now - absl::Hours(1), now + absl::Hours(24 * 365)};
  Must(MakeDirectories(folder_.path, 0700));
  root_pem_ = trust::IssueRoot(authority_, "test", validity, random_).value();
  const trust::SigningKey tls = trust::SigningKey::Generate(random_);
  Must(coordinator_.Save(folder_.CoordinatorKey(), "", random_));
  Must(enrolment_.Save(folder_.EnrolmentKey(), "", random_));
  Must(tls.Save(folder_.TlsKey(), "", random_));
  Must(AtomicWriteFile(folder_.Root(), root_pem_));
  Must(AtomicWriteFile(
      folder_.TlsCertificate(),
      trust::IssueCoordinator(authority_, root_pem_, tls.public_key(), validity, random_).value()));
  Must(AtomicWriteFile(
      folder_.EnrolmentCa(),
      trust::IssueEnrolmentCa(authority_, root_pem_, enrolment_.public_key(), validity, random_)
          .value()));
  Must(AtomicWriteFile(
      folder_.Manifest(),
      trust::SignDocument(authority_, trust::kManifestDomain, MakeManifest()).SerializeAsString()));
}

v1::Manifest TestFederation::MakeManifest() const {
  v1::Manifest manifest;
  manifest.set_federation_id(std::string(AsChars(trust::IdOf(authority_.public_key()))));
  manifest.set_name("test");
  manifest.set_serial(1);
  manifest.set_coordinator_key(std::string(AsChars(coordinator_.public_key())));
  manifest.set_enrolment_key(std::string(AsChars(enrolment_.public_key())));
  manifest.set_min_cohort(3);
  manifest.set_not_after_unix_s(absl::ToUnixSeconds(now_ + absl::Hours(24 * 365)));
  return manifest;
}

v1::SignedDocument TestFederation::ManifestRevoking(const std::string& node_id, uint64_t serial) {
  v1::Manifest manifest = MakeManifest();
  manifest.set_serial(serial);
  manifest.add_revoked_node_ids(node_id);
  return trust::SignDocument(authority_, trust::kManifestDomain, manifest);
}

rpc::TlsIdentity TestFederation::Operator() {
  const trust::SigningKey key = trust::SigningKey::Generate(random_);
  const trust::Validity validity{now_ - absl::Hours(1), now_ + absl::Hours(24)};
  return {trust::IssueOperator(authority_, root_pem_, key.public_key(), "tester", validity, random_)
              .value(),
          key.ToPkcs8Pem()};
}

engine::Adapter TestAdapter() {
  engine::Adapter adapter;
  adapter.alpha = 4.0f;
  adapter.architecture = "llama";
  adapter.pairs.push_back({"blk.0.attn_q.weight", 6, 5, 2, std::vector<float>(10, 0.25f),
                           std::vector<float>(12, 0.0f)});
  adapter.pairs.push_back(
      {"blk.0.ffn_up.weight", 4, 3, 2, std::vector<float>(6, -0.5f), std::vector<float>(8, 0.0f)});
  return adapter;
}

v1::RunConfig TestRun(BlobStore& blobs, const std::string& strategy, uint32_t rounds) {
  const std::string model = "a base model";
  const std::string adapter = engine::SerializeGgufAdapter(TestAdapter()).value();
  Must(blobs.PutWhole(Sha256Of(model), AsBytes(model)));
  Must(blobs.PutWhole(Sha256Of(adapter), AsBytes(adapter)));
  v1::RunConfig config;
  config.set_run_id("demo");
  config.set_base_model_digest(std::string(AsChars(Sha256Of(model))));
  config.set_initial_adapter_digest(std::string(AsChars(Sha256Of(adapter))));
  config.set_architecture("llama");
  v1::TrainingSpec& training = *config.mutable_training();
  training.set_local_steps(1);
  training.set_batch(1);
  training.set_context_tokens(8);
  training.set_learning_rate(0.1f);
  v1::AggregationSpec& aggregation = *config.mutable_aggregation();
  aggregation.set_strategy(strategy);
  aggregation.set_min_cohort(3);
  aggregation.set_target_cohort(4);
  aggregation.set_max_cohort(8);
  aggregation.set_clip_norm(100.0f);
  aggregation.set_equal_weights(true);
  v1::PacingSpec& pacing = *config.mutable_pacing();
  pacing.set_rounds(rounds);
  pacing.set_select_wait_s(1);
  pacing.set_training_wait_s(60);
  pacing.set_cohort_wait_s(2);
  pacing.set_stage_wait_s(5);
  return config;
}

}  // namespace choir::coordinator
