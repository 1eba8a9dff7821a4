#include "cli/manifest_view.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "cli/failure.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/expiry.h"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 20;

template <typename List>
nlohmann::json HexList(const List& list) {
  nlohmann::json out = nlohmann::json::array();
  for (const std::string& bytes : list) out.push_back(HexEncode(AsBytes(bytes)));
  return out;
}

template <typename List>
void ShowList(Output& output, const char* title, const List& list, const char* none) {
  if (list.empty()) output.Line(fmt::format("{:<16}{}", title, none));
  for (const std::string& bytes : list) {
    output.Line(fmt::format("{:<16}{}", title, HexEncode(AsBytes(bytes))));
    title = "";
  }
}

std::string FloorText(const v1::PrivacyFloor& floor) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (floor.distributed()) add("noise by the nodes themselves");
  if (floor.min_noise_multiplier() > 0) {
    add(fmt::format("noise multiplier {} or more", floor.min_noise_multiplier()));
  }
  if (floor.max_epsilon() > 0) add(fmt::format("epsilon {} or less", floor.max_epsilon()));
  if (floor.max_delta() > 0) add(fmt::format("delta {} or less", floor.max_delta()));
  return text.empty() ? "none asked for" : text;
}

}  // namespace

nlohmann::json ManifestJson(const v1::Manifest& manifest) {
  return {{"federation", manifest.name()},
          {"federation_id", HexEncode(AsBytes(manifest.federation_id()))},
          {"serial", manifest.serial()},
          {"min_cohort", manifest.min_cohort()},
          {"privacy",
           {{"distributed", manifest.privacy().distributed()},
            {"min_noise_multiplier", manifest.privacy().min_noise_multiplier()},
            {"max_epsilon", manifest.privacy().max_epsilon()},
            {"max_delta", manifest.privacy().max_delta()}}},
          {"base_models", HexList(manifest.base_model_digests())},
          {"revoked", HexList(manifest.revoked_node_ids())},
          {"not_after_unix_s", manifest.not_after_unix_s()},
          {"coordinator_key", HexEncode(AsBytes(manifest.coordinator_key()))},
          {"enrolment_key", HexEncode(AsBytes(manifest.enrolment_key()))}};
}

void ShowManifest(const v1::Manifest& manifest, Environment& environment) {
  Output& output = environment.output;
  const absl::Time end = absl::FromUnixSeconds(manifest.not_after_unix_s());
  output.Json(ManifestJson(manifest));
  output.Line(fmt::format("{:<16}{}", "federation", manifest.name()));
  output.Line(fmt::format("{:<16}{}", "serial", manifest.serial()));
  output.Line(fmt::format("{:<16}{}", "smallest cohort", manifest.min_cohort()));
  output.Line(fmt::format("{:<16}{}", "every run", FloorText(manifest.privacy())));
  output.Line(fmt::format("{:<16}{}", "valid until",
                          absl::FormatTime("%Y-%m-%d", end, absl::UTCTimeZone())));
  ShowList(output, "base models", manifest.base_model_digests(), "any");
  ShowList(output, "revoked nodes", manifest.revoked_node_ids(), "none");
  const std::string warning = trust::ExpiryWarning("the manifest", end, environment.clock.Now());
  if (!warning.empty()) output.Warning(warning + ": `choir federation renew`");
}

absl::StatusOr<v1::Manifest> OpenSignedManifest(const v1::SignedDocument& document,
                                                const std::string& root_pem) {
  CHOIR_ASSIGN_OR_RETURN(const trust::CertificateInfo root, trust::ParseCertificate(root_pem));
  return trust::OpenManifest(document, root.public_key, absl::InfinitePast());
}

absl::StatusOr<v1::SignedDocument> ReadManifest(const std::string& dir) {
  const std::string path = dir + "/manifest.pb";
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxFileBytes);
  if (!bytes.ok()) return BadInput("manifest", path, bytes.status());
  const absl::StatusOr<std::string> root = ReadFile(dir + "/root.pem", kMaxFileBytes);
  if (!root.ok()) return BadInput("root certificate", dir + "/root.pem", root.status());
  v1::SignedDocument document;
  if (!document.ParseFromString(*bytes)) {
    return BadInput("manifest", path, absl::DataLossError("it is no signed document"));
  }
  const absl::StatusOr<v1::Manifest> opened = OpenSignedManifest(document, *root);
  if (!opened.ok()) return BadInput("manifest", path, opened.status());
  return document;
}

absl::StatusOr<v1::Manifest> FetchManifest(const OperatorSession& session) {
  CHOIR_ASSIGN_OR_RETURN(
      const v1::GetManifestResponse response,
      session.Call(&v1::OperatorService::Stub::GetManifest, v1::GetManifestRequest()));
  return OpenSignedManifest(response.manifest(), session.root_pem());
}

absl::Status PublishManifest(const OperatorSession& session, const v1::SignedDocument& document) {
  CHOIR_ASSIGN_OR_RETURN(
      const v1::GetManifestResponse present,
      session.Call(&v1::OperatorService::Stub::GetManifest, v1::GetManifestRequest()));
  if (present.manifest().SerializeAsString() == document.SerializeAsString()) {
    return absl::OkStatus();
  }
  v1::PublishManifestRequest request;
  *request.mutable_manifest() = document;
  return session.Call(&v1::OperatorService::Stub::PublishManifest, request).status();
}

}  // namespace choir::cli
