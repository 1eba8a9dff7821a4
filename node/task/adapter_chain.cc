#include "node/task/adapter_chain.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "proto/trust/documents.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/result_chain.h"

namespace choir::node {
namespace {

absl::Status Broken(std::string_view text) {
  return secagg::Refusal(absl::StatusCode::kPermissionDenied, secagg::AbortReason::kChainBroken,
                         text);
}

absl::Status CheckVersion(const v1::AdapterVersion& version, const AdapterChain& chain,
                          const std::optional<Digest>& parent) {
  const uint64_t expected = chain.versions.size();
  if (version.version() != expected) {
    return Broken(
        fmt::format("adapter version {} follows version {}", version.version(), expected - 1));
  }
  const std::string parent_digest = parent.has_value() ? std::string(AsChars(*parent)) : "";
  if (version.parent_digest() != parent_digest) {
    return Broken(fmt::format("adapter version {} does not continue the chain", version.version()));
  }
  if (!chain.versions.empty() && version.run_id() != chain.versions.front().run_id()) {
    return Broken("the chain of adapters changes its run");
  }
  return absl::OkStatus();
}

absl::Status CheckResultOf(const v1::AdapterVersion& version, const secagg::RoundResult& result) {
  if (version.adapter_digest() != AsChars(result.adapter_hash) ||
      version.run_id() != result.run_id || version.round() != result.round) {
    return Broken(
        fmt::format("adapter version {} is not what its round's result says", version.version()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AdapterChain> CheckAdapterChain(const v1::ListAdapterVersionsResponse& listed,
                                               const trust::PublicKey& coordinator_key) {
  if (listed.versions_size() > 0 && listed.round_results_size() < listed.versions_size() - 1) {
    return Broken(fmt::format("{} adapter versions come with {} round results",
                              listed.versions_size(), listed.round_results_size()));
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
        return Broken(fmt::format("adapter version {} names a round result that is not there", i));
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
    return Broken(fmt::format("{} round results belong to no adapter version",
                              listed.round_results_size() - next_result));
  }
  return chain;
}

}  // namespace choir::node
