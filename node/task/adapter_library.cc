#include "node/task/adapter_library.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "node/task/blob_fetcher.h"
#include "node/task/personal_adapter.h"
#include "node/task/task_check.h"

namespace choir::node {
namespace {

constexpr uint64_t kMaxChainBytes = uint64_t{256} << 20;

}  // namespace

std::string AdapterLibrary::LatestPath(const std::string& run_id) const {
  return fmt::format("{}/{}/latest.gguf", folder_, run_id);
}

absl::StatusOr<v1::ListAdapterVersionsResponse> AdapterLibrary::LoadListed(
    const std::string& run_id) const {
  // It names a folder: nothing that a coordinator signs may lead out of ours.
  if (!IsRunId(run_id)) return absl::InvalidArgumentError("the run's name is malformed");
  const std::string path = fmt::format("{}/{}/chain.pb", folder_, run_id);
  v1::ListAdapterVersionsResponse listed;
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxChainBytes);
  if (absl::IsNotFound(bytes.status())) return listed;
  if (!bytes.ok()) return bytes.status();
  if (!listed.ParseFromString(*bytes)) {
    return absl::DataLossError(fmt::format("{} is damaged: remove it to fetch it again", path));
  }
  return listed;
}

absl::StatusOr<AdapterChain> AdapterLibrary::Load(const std::string& run_id) const {
  CHOIR_ASSIGN_OR_RETURN(const v1::ListAdapterVersionsResponse listed, LoadListed(run_id));
  return CheckAdapterChain(listed, coordinator_key_);
}

absl::StatusOr<AdapterChain> AdapterLibrary::Sync(CoordinatorClient& client,
                                                  const std::string& run_id) const {
  CHOIR_ASSIGN_OR_RETURN(v1::ListAdapterVersionsResponse listed, LoadListed(run_id));
  const int before = listed.versions_size();
  for (;;) {
    CHOIR_ASSIGN_OR_RETURN(
        const v1::ListAdapterVersionsResponse more,
        client.ListAdapterVersions(run_id, static_cast<int64_t>(listed.versions_size()) - 1));
    if (more.versions_size() == 0) break;
    listed.mutable_versions()->MergeFrom(more.versions());
    listed.mutable_round_results()->MergeFrom(more.round_results());
    if (listed.ByteSizeLong() > kMaxChainBytes) {
      return absl::ResourceExhaustedError("the chain of adapters is too long");
    }
  }
  CHOIR_ASSIGN_OR_RETURN(AdapterChain chain, CheckAdapterChain(listed, coordinator_key_));
  if (!chain.versions.empty() && chain.versions.front().run_id() != run_id) {
    return absl::PermissionDeniedError("the coordinator lists another run's adapters");
  }
  if (listed.versions_size() == before) return chain;
  const v1::AdapterVersion& newest = chain.versions.back();
  if (newest.adapter_digest().size() != sizeof(Digest)) {
    return absl::PermissionDeniedError("an adapter version names no adapter");
  }
  Digest digest;
  std::copy(newest.adapter_digest().begin(), newest.adapter_digest().end(), digest.begin());
  const std::string folder = fmt::format("{}/{}", folder_, run_id);
  CHOIR_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  CHOIR_RETURN_IF_ERROR(FetchBlobToFile(client, digest, newest.adapter_bytes(), LatestPath(run_id),
                                        [](uint64_t, uint64_t) {}));
  // Before the chain: a crash between the two does both again.
  CHOIR_RETURN_IF_ERROR(PersonalAdapter(folder_, run_id).TakeCommonPart(LatestPath(run_id)));
  CHOIR_RETURN_IF_ERROR(AtomicWriteSecretFile(folder + "/chain.pb", listed.SerializeAsString()));
  return chain;
}

}  // namespace choir::node
