#include "coordinator/service/work.h"

#include <utility>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/status_macros.h"
#include "coordinator/service/not_stored.h"

namespace choir::coordinator {
namespace {

absl::StatusOr<secagg::RoundResult> Unmask(UnmaskWork work, std::vector<secagg::NodeId>& liars) {
  const secagg::SessionConfig config = work.core.config();
  const absl::Status closed = work.core.CloseStage(Threads(0));
  liars = work.core.liars();
  CHOIR_RETURN_IF_ERROR(closed);
  CHOIR_ASSIGN_OR_RETURN(const secagg::SessionSum sum, std::move(work.core).TakeSum());
  CHOIR_RETURN_IF_ERROR(NotStored(MakeDirectories(work.folder, 0700)));
  CHOIR_RETURN_IF_ERROR(NotStored(AtomicWriteFile(work.sum_path, AsChars(sum.packed), 0600)));
  CHOIR_FAILPOINT("coordinator-sum-written");
  secagg::RoundResult result;
  result.federation_id = config.federation_id;
  result.run_id = config.run_id;
  result.round = config.round;
  result.session_id = config.session_id;
  result.h3 = sum.h3;
  result.sum_hash = sum.sum_hash;
  result.contributors = sum.contributors;
  return result;
}

}  // namespace

WorkDone DoWork(Work work, const trust::SigningKey& key, BlobStore& blobs, RandomSource& random) {
  if (auto* unmask = std::get_if<UnmaskWork>(&work)) {
    UnmaskDone done{unmask->cohort,
                    std::string(AsChars(unmask->core.config().session_id)),
                    unmask->folder,
                    absl::UnknownError("not begun"),
                    {}};
    done.result = Unmask(std::move(*unmask), done.liars);
    return done;
  }
  const auto& merge = std::get<MergeInput>(work);
  return MergeDone{merge.round, MergeRound(merge, key, blobs, random)};
}

}  // namespace choir::coordinator
