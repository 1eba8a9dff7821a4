// What a coordinator offers, and the history that it lists. It holds the signing key and may lie:
// an offer that passes must be one that the rest of the node can work with.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

#include "base/check.h"
#include "base/file.h"
#include "base/sha256.h"
#include "choir/v1/node.pb.h"
#include "node/task/adapter_chain.h"
#include "node/task/task_check.h"
#include "proto/trust/documents.h"
#include "proto/trust/keys.h"

namespace choir::node {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);
constexpr int64_t kLater = 2'000'000;

const trust::SigningKey& CoordinatorKey() {
  static const trust::SigningKey key = trust::SigningKey::FromSeed(std::array<uint8_t, 32>{7});
  return key;
}

v1::Manifest SampleManifest() {
  v1::Manifest manifest;
  manifest.set_federation_id(std::string(32, 'f'));
  manifest.set_coordinator_key(std::string(AsChars(CoordinatorKey().public_key())));
  manifest.set_min_cohort(3);
  return manifest;
}

struct Offer {
  v1::RunConfig config;
  v1::RoundTask task;
  v1::AdapterVersion version;

  Offer() {
    const std::string federation(32, 'f');
    config.set_federation_id(federation);
    config.set_run_id("r");
    config.set_base_model_digest(std::string(32, 'b'));
    config.set_base_model_bytes(10);
    config.set_architecture("llama");
    config.set_num_values(6);
    config.set_not_after_unix_s(kLater);
    config.mutable_training()->set_local_steps(1);
    config.mutable_training()->set_batch(1);
    config.mutable_training()->set_context_tokens(8);
    config.mutable_training()->set_learning_rate(0.1f);
    config.mutable_aggregation()->set_min_cohort(4);
    task.set_federation_id(federation);
    task.set_run_id("r");
    task.set_round(1);
    task.set_adapter_digest(std::string(32, 'a'));
    task.set_adapter_bytes(10);
    task.set_trained_factors("both");
    task.set_not_after_unix_s(kLater);
    version.set_federation_id(federation);
    version.set_run_id("r");
    version.set_adapter_digest(task.adapter_digest());
  }

  [[nodiscard]] v1::CheckInResponse::Task Sign() {
    v1::CheckInResponse::Task offer;
    *offer.mutable_run_config() = trust::SignDocument(CoordinatorKey(), trust::kRunDomain, config);
    task.set_run_config_digest(std::string(AsChars(trust::DocumentDigest(offer.run_config()))));
    *offer.mutable_task() = trust::SignDocument(CoordinatorKey(), trust::kTaskDomain, task);
    *offer.mutable_adapter_version() =
        trust::SignDocument(CoordinatorKey(), trust::kAdapterDomain, version);
    return offer;
  }
};

void CheckOffer(const v1::CheckInResponse::Task& offer) {
  const auto checked = CheckTask(offer, SampleManifest(), kNow);
  if (!checked.ok()) return;
  CHOIR_CHECK(IsRunId(checked->task.run_id()));
  const v1::TrainingSpec& training = checked->config.training();
  CHOIR_CHECK(training.context_tokens() > 0 && training.batch() > 0);
  CHOIR_CHECK(std::isfinite(training.learning_rate()) && training.learning_rate() > 0);
  CHOIR_CHECK(std::isfinite(training.weight_decay()) &&
              std::isfinite(training.max_gradient_norm()));
  engine::Adapter adapter;
  adapter.architecture = checked->config.architecture();
  adapter.alpha = checked->config.lora().alpha();
  adapter.pairs.push_back({"blk.0.attn_q.weight", 4, 2, 1, {1, 2}, {0, 0, 0, 0}});
  (void)CheckTaskAdapter(*checked, adapter);
}

// The history as it came, and again with every version signed and linked to the one before.
void CheckListed(v1::ListAdapterVersionsResponse listed) {
  (void)CheckAdapterChain(listed, CoordinatorKey().public_key());
  std::string parent;
  for (v1::SignedDocument& document : *listed.mutable_versions()) {
    v1::AdapterVersion version;
    if (!version.ParseFromString(document.body())) return;
    version.set_parent_digest(parent);
    document = trust::SignDocument(CoordinatorKey(), trust::kAdapterDomain, version);
    parent = std::string(AsChars(trust::DocumentDigest(document)));
  }
  const auto chain = CheckAdapterChain(listed, CoordinatorKey().public_key());
  if (!chain.ok()) return;
  CHOIR_CHECK(chain->versions.size() == static_cast<size_t>(listed.versions_size()));
  CHOIR_CHECK(chain->results.size() == static_cast<size_t>(listed.round_results_size()));
}

// The bytes change fields of one document of an offer that holds.
template <typename Message>
void Spoil(Message Offer::*document, const std::string& bytes) {
  Offer offer;
  if ((offer.*document).MergeFromString(bytes)) CheckOffer(offer.Sign());
}

}  // namespace
}  // namespace choir::node

// The first byte says what the rest is, so that one corpus serves all.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace node = choir::node;
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0]) {
    case 'o':
      if (choir::v1::CheckInResponse answer; answer.ParseFromString(bytes)) {
        node::CheckOffer(answer.task());
      }
      break;
    case 'h':
      if (choir::v1::ListAdapterVersionsResponse listed; listed.ParseFromString(bytes)) {
        node::CheckListed(std::move(listed));
      }
      break;
    case 'r':
      node::Spoil(&node::Offer::config, bytes);
      break;
    case 't':
      node::Spoil(&node::Offer::task, bytes);
      break;
    case 'v':
      node::Spoil(&node::Offer::version, bytes);
      break;
    default:
      break;
  }
  return 0;
}
