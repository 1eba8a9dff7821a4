// An operator's run file arrives as a RunConfig: whatever the coordinator accepts must be a run
// that rounds and secure aggregation can be made of.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"

#include "base/check.h"
#include "base/file.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/service/run_plan.h"
#include "engine/lora/gguf_adapter.h"
#include "secure-agg/core/transcript.h"

namespace choir::coordinator {
namespace {

// A few whole blobs in memory.
class MemoryBlobs final : public BlobStore {
 public:
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override {
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return BlobInfo{};
    return BlobInfo{found->second.size(), true};
  }
  absl::StatusOr<BlobInfo> Put(const Digest& digest, uint64_t, uint64_t,
                               std::span<const uint8_t> data) override {
    blobs_[digest] = std::string(AsChars(data));
    return Stat(digest);
  }
  absl::Status PutWhole(const Digest& digest, std::span<const uint8_t> data) override {
    return Put(digest, data.size(), 0, data).status();
  }
  absl::StatusOr<std::string> Read(const Digest& digest, uint64_t offset,
                                   uint64_t max_bytes) override {
    return blobs_.at(digest).substr(offset, max_bytes);
  }
  absl::StatusOr<std::string> LocalFile(const Digest& /*digest*/) override {
    return absl::NotFoundError("these blobs are in memory");
  }
  absl::StatusOr<std::vector<BlobEntry>> List() override {
    std::vector<BlobEntry> out;
    for (const auto& [digest, bytes] : blobs_) out.push_back({digest, {bytes.size(), true}});
    return out;
  }
  absl::Status Remove(const Digest& digest) override {
    blobs_.erase(digest);
    return absl::OkStatus();
  }

 private:
  std::map<Digest, std::string> blobs_;
};

std::string Store(BlobStore& blobs, const std::string& bytes) {
  const Digest digest = Sha256Of(bytes);
  CHOIR_CHECK(blobs.PutWhole(digest, AsBytes(bytes)).ok());
  return std::string(AsText(digest));
}

v1::RunConfig SampleRun(BlobStore& blobs) {
  engine::Adapter adapter;
  adapter.alpha = 4.0f;
  adapter.architecture = "llama";
  adapter.pairs.push_back({"blk.0.attn_q.weight", 6, 5, 2, std::vector<float>(10, 0.25f),
                           std::vector<float>(12, 0.0f)});
  v1::RunConfig config;
  config.set_run_id("demo");
  config.set_base_model_digest(Store(blobs, "a base model"));
  config.set_initial_adapter_digest(Store(blobs, engine::SerializeGgufAdapter(adapter).value()));
  config.set_architecture("llama");
  config.mutable_training()->set_local_steps(1);
  config.mutable_training()->set_batch(1);
  config.mutable_training()->set_context_tokens(8);
  config.mutable_training()->set_learning_rate(0.1f);
  config.mutable_aggregation()->set_strategy("fedavg");
  config.mutable_aggregation()->set_min_cohort(3);
  config.mutable_aggregation()->set_clip_norm(1.0f);
  config.mutable_pacing()->set_rounds(2);
  return config;
}

void CheckAccepted(const v1::RunConfig& config) {
  const RoundPolicy policy = PolicyOf(config);
  CHOIR_CHECK(policy.min_cohort >= 3 && policy.target_cohort >= policy.min_cohort &&
              policy.max_cohort >= policy.target_cohort && policy.cohorts >= 1);
  CHOIR_CHECK(std::isfinite(policy.over_selection) && policy.over_selection >= 0);
  CHOIR_CHECK(StageWait(config) > absl::ZeroDuration());
  CHOIR_CHECK(config.not_after_unix_s() > config.created_unix_s());
  CHOIR_CHECK(std::isfinite(config.training().learning_rate()));
  CHOIR_CHECK(MakeStrategy(config.aggregation().strategy()).ok());
  secagg::SessionConfig session =
      SessionTemplate(config, config.num_values(), double{config.aggregation().clip_norm()});
  session.round = session.round_counter = 1;
  session.expires_at_ms = 1;
  CHOIR_CHECK(secagg::ValidateConfig(session).ok());
}

}  // namespace
}  // namespace choir::coordinator

// The bytes change fields of a run that is accepted.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace coordinator = choir::coordinator;
  static coordinator::MemoryBlobs blobs;
  static const choir::v1::RunConfig sample = coordinator::SampleRun(blobs);
  choir::v1::Manifest manifest;
  manifest.set_min_cohort(3);
  choir::v1::RunConfig config = sample;
  if (!config.MergeFromString(std::string(reinterpret_cast<const char*>(data), size))) return 0;
  const auto run =
      coordinator::CompleteRunConfig(config, manifest, blobs, absl::FromUnixSeconds(1'000'000));
  if (run.ok()) coordinator::CheckAccepted(*run);
  // The sample itself must pass, or this target tests refusals alone.
  static const bool accepted =
      coordinator::CompleteRunConfig(sample, manifest, blobs, absl::UnixEpoch()).ok();
  CHOIR_CHECK(accepted);
  return 0;
}
