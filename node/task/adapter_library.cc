#include "node/task/adapter_library.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "node/task/blob_fetcher.h"
#include "node/task/task_check.h"
#include "proto/trust/documents.h"
#include "secure-agg/core/result_chain.h"

namespace choir::node {
namespace {

constexpr uint64_t kMaxChainBytes = uint64_t{256} << 20;

absl::Status CheckVersion(const v1::AdapterVersion& version, const AdapterChain& chain,
                          const std::optional<Digest>& parent) {
  const uint64_t expected = chain.versions.size();
  if (version.version() != expected) {
    return absl::PermissionDeniedError(
        fmt::format("adapter version {} follows version {}", version.version(), expected - 1));
  }
  const std::string parent_digest = parent.has_value() ? std::string(AsChars(*parent)) : "";
  if (version.parent_digest() != parent_digest) {
    return absl::PermissionDeniedError(
        fmt::format("adapter version {} does not continue the chain", version.version()));
  }
  if (!chain.versions.empty() && version.run_id() != chain.versions.front().run_id()) {
    return absl::PermissionDeniedError("the chain of adapters changes its run");
  }
  return absl::OkStatus();
}

absl::Status CheckResultOf(const v1::AdapterVersion& version, const secagg::RoundResult& result) {
  if (version.adapter_digest() != AsChars(result.adapter_hash) ||
      version.run_id() != result.run_id || version.round() != result.round) {
    return absl::PermissionDeniedError(
        fmt::format("adapter version {} is not what its round's result says", version.version()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AdapterChain> CheckAdapterChain(const v1::ListAdapterVersionsResponse& listed,
                                               const trust::PublicKey& coordinator_key) {
  if (listed.versions_size() > 0 && listed.round_results_size() < listed.versions_size() - 1) {
    return absl::PermissionDeniedError(fmt::format("{} adapter versions come with {} round results",
                                                   listed.versions_size(),
                                                   listed.round_results_size()));
  }
  AdapterChain chain;
  std::optional<Digest> parent;
  std::optional<secagg::ChainHead> head;
  int next_result = 0;
  for (int i = 0; i < listed.versions_size(); ++i) {
    CHOIR_ASSIGN_OR_RETURN(v1::AdapterVersion version,
                           trust::OpenAs<v1::AdapterVersion>(
                               listed.versions(i), trust::kAdapterDomain, coordinator_key));
    CHOIR_RETURN_IF_ERROR(CheckVersion(version, chain, parent));
    // One result a cohort that was merged; the version names the last.
    for (bool last = i == 0; !last; ++next_result) {
      if (next_result == listed.round_results_size()) {
        return absl::PermissionDeniedError(
            fmt::format("adapter version {} names a round result that is not there", i));
      }
      const std::string& bytes = listed.round_results(next_result);
      CHOIR_ASSIGN_OR_RETURN(secagg::RoundResult result, secagg::DecodeRoundResult(AsBytes(bytes)));
      CHOIR_ASSIGN_OR_RETURN(head, secagg::FollowChain(head, coordinator_key, result));
      CHOIR_RETURN_IF_ERROR(CheckResultOf(version, result));
      chain.results.push_back(std::move(result));
      last = version.round_result_digest() == AsChars(Sha256Of(bytes));
    }
    parent = trust::DocumentDigest(listed.versions(i));
    chain.versions.push_back(std::move(version));
  }
  if (next_result != listed.round_results_size()) {
    return absl::PermissionDeniedError(fmt::format("{} round results belong to no adapter version",
                                                   listed.round_results_size() - next_result));
  }
  return chain;
}

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
  CHOIR_RETURN_IF_ERROR(AtomicWriteSecretFile(folder + "/chain.pb", listed.SerializeAsString()));
  return chain;
}

}  // namespace choir::node
