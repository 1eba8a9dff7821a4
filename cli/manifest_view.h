#ifndef CHOIR_CLI_MANIFEST_VIEW_H_
#define CHOIR_CLI_MANIFEST_VIEW_H_

// A federation's manifest, for people and programs.

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "choir/v1/federation.pb.h"
#include "cli/command.h"
#include "cli/operator_session.h"

namespace choir::cli {

nlohmann::json ManifestJson(const v1::Manifest& manifest);
// Its lines, and a warning if it ends soon.
void ShowManifest(const v1::Manifest& manifest, Environment& environment);

// The manifest in `dir` (manifest.pb, checked against root.pem): the authority's folder, or the
// coordinator's.
absl::StatusOr<v1::SignedDocument> ReadManifest(const std::string& dir);
// As the authority of `root_pem` signed it; expired or not.
absl::StatusOr<v1::Manifest> OpenSignedManifest(const v1::SignedDocument& document,
                                                const std::string& root_pem);
// What the coordinator goes by now, checked against the operator's root.
absl::StatusOr<v1::Manifest> FetchManifest(const OperatorSession& session);
// Fine if the coordinator has it already.
absl::Status PublishManifest(const OperatorSession& session, const v1::SignedDocument& document);

}  // namespace choir::cli

#endif  // CHOIR_CLI_MANIFEST_VIEW_H_
