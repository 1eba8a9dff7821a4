#include "coordinator/service/merge_gate.h"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/service/not_stored.h"
#include "coordinator/service/run_plan.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {
namespace {

// Removes the folder with its held-out texts, whatever becomes of the evaluation.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& path) : path_(path) {}
  ~TemporaryFolder() {
    std::error_code ignored;  // what stays takes room, no more
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

 private:
  std::string path_;
};

// The held-out texts are told by their ending to be JSONL, and a blob has none.
absl::Status CopyBlob(BlobStore& blobs, const Digest& digest, const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const BlobInfo info, blobs.Stat(digest));
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, blobs.Read(digest, 0, info.stored_bytes));
  return NotStored(AtomicWriteSecretFile(path, bytes));
}

absl::StatusOr<EvaluationJob> JobOf(const v1::RunConfig& config, const GateParts& parts) {
  EvaluationJob job;
  CHOIR_ASSIGN_OR_RETURN(const Digest model,
                         DigestFrom(config.base_model_digest(), "base_model_digest"));
  CHOIR_ASSIGN_OR_RETURN(job.model_path, parts.blobs.LocalFile(model));
  job.adapter_path = parts.folder + "/adapter.gguf";
  job.data_path = parts.folder + "/held-out.jsonl";
  job.context_tokens = config.training().context_tokens();
  job.packing = config.training().packing().empty() ? "packed" : config.training().packing();
  job.train_on = config.training().train_on().empty() ? "all" : config.training().train_on();
  job.compute = config.training().compute().empty() ? "auto" : config.training().compute();
  CHOIR_ASSIGN_OR_RETURN(const Digest data,
                         DigestFrom(config.gate().data_digest(), "gate.data_digest"));
  CHOIR_RETURN_IF_ERROR(CopyBlob(parts.blobs, data, job.data_path));
  return job;
}

absl::StatusOr<double> NllOf(const Digest& adapter, const EvaluationJob& job,
                             const GateParts& parts) {
  CHOIR_RETURN_IF_ERROR(CopyBlob(parts.blobs, adapter, job.adapter_path));
  return parts.evaluate(job);
}

}  // namespace

absl::Status PassGate(const v1::RunConfig& config, const v1::AdapterVersion& parent,
                      const Digest& candidate, const GateParts& parts,
                      v1::AdapterVersion& version) {
  if (config.gate().data_digest().empty()) return absl::OkStatus();
  if (!parts.evaluate) {
    return absl::FailedPreconditionError("this coordinator cannot evaluate, and the run wants it");
  }
  CHOIR_RETURN_IF_ERROR(NotStored(MakeDirectories(parts.folder, 0700)));
  const TemporaryFolder cleaned(parts.folder);
  CHOIR_ASSIGN_OR_RETURN(const EvaluationJob job, JobOf(config, parts));
  double before = parent.held_out_nll();
  if (!parent.has_held_out_nll()) {
    CHOIR_ASSIGN_OR_RETURN(const Digest digest,
                           DigestFrom(parent.adapter_digest(), "adapter_digest"));
    CHOIR_ASSIGN_OR_RETURN(before, NllOf(digest, job, parts));
  }
  CHOIR_ASSIGN_OR_RETURN(const double after, NllOf(candidate, job, parts));
  const absl::Status passed = CheckAgainstParent(before, after, double{config.gate().margin()});
  if (!passed.ok()) {
    return secagg::Refusal(absl::StatusCode::kFailedPrecondition,
                           secagg::AbortReason::kWorseThanParent, std::string(passed.message()));
  }
  version.set_held_out_nll(after);
  return absl::OkStatus();
}

}  // namespace choir::coordinator
