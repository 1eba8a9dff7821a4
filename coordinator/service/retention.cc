#include "coordinator/service/retention.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/failpoint.h"
#include "base/status_macros.h"
#include "coordinator/service/run_plan.h"

namespace choir::coordinator {
namespace {

// Whose pieces the notes of unused blobs are: digest -> NoteOf().
constexpr std::string_view kUnusedBlobs = "unused-blobs";
constexpr uint32_t kVersionsAtOnce = 100;

template <typename Document>
absl::StatusOr<Document> BodyOf(const std::string& signed_document, std::string_view what) {
  v1::SignedDocument document;
  Document body;
  if (document.ParseFromString(signed_document) && body.ParseFromString(document.body())) {
    return body;
  }
  return absl::DataLossError(fmt::format("{} in the store cannot be parsed", what));
}

absl::Status Add(const std::string& digest, std::string_view what, std::vector<Digest>& to) {
  if (digest.empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(to.emplace_back(), DigestFrom(digest, what));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Digest>> BlobsOf(const v1::RunConfig& config) {
  std::vector<Digest> blobs;
  CHOIR_RETURN_IF_ERROR(Add(config.base_model_digest(), "base_model_digest", blobs));
  CHOIR_RETURN_IF_ERROR(Add(config.initial_adapter_digest(), "initial_adapter_digest", blobs));
  CHOIR_RETURN_IF_ERROR(Add(config.gate().data_digest(), "gate.data_digest", blobs));
  return blobs;
}

// When a blob was first found unused, and what there was of it then: an upload that goes on is
// another note.
std::string NoteOf(const BlobInfo& info, int64_t unix_s) {
  return fmt::format("{} {} {}", info.stored_bytes, info.complete ? 1 : 0, unix_s);
}

// Nothing if the note is of another size, or none of ours: then it is made anew.
std::optional<absl::Time> TimeOf(const std::string& note, const BlobInfo& info) {
  const size_t space = note.rfind(' ');
  if (space == std::string::npos) return std::nullopt;
  int64_t unix_s = 0;
  const std::string time = note.substr(space + 1);
  const auto [end, error] = std::from_chars(time.data(), time.data() + time.size(), unix_s);
  if (error != std::errc() || NoteOf(info, unix_s) != note) return std::nullopt;
  return absl::FromUnixSeconds(unix_s);
}

std::string KeyOf(const Digest& digest) {
  return std::string(AsText(digest));
}

}  // namespace

absl::Status BlobsInUse::ReadVersions(Store& store, const std::string& run_id, Run& run) {
  while (true) {
    const auto after = static_cast<int64_t>(run.versions.size()) - 1;
    CHOIR_ASSIGN_OR_RETURN(const std::vector<VersionRecord> records,
                           store.ListVersions(run_id, after, kVersionsAtOnce));
    if (records.empty()) return absl::OkStatus();
    for (const VersionRecord& record : records) {
      if (record.version != run.versions.size()) {
        return absl::DataLossError(
            fmt::format("run {}: version {} is missing in the store", run_id, run.versions.size()));
      }
      CHOIR_ASSIGN_OR_RETURN(const v1::AdapterVersion version,
                             BodyOf<v1::AdapterVersion>(record.document, "an adapter version"));
      Version read;
      CHOIR_RETURN_IF_ERROR(Add(version.adapter_digest(), "adapter_digest", read.blobs));
      CHOIR_RETURN_IF_ERROR(Add(version.basis_digest(), "basis_digest", read.blobs));
      std::vector<Digest> state;
      CHOIR_RETURN_IF_ERROR(Add(version.server_state_digest(), "server_state_digest", state));
      if (!state.empty()) read.server_state = state[0];
      if (version.has_held_out_nll()) read.held_out_nll = version.held_out_nll();
      run.versions.push_back(std::move(read));
    }
  }
}

absl::Status BlobsInUse::Update(Store& store) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<StoredRun> runs, store.ListRuns());
  for (const StoredRun& stored : runs) {
    const auto [run, fresh] = runs_.try_emplace(stored.record.run_id);
    if (fresh) {
      absl::StatusOr<v1::RunConfig> config =
          BodyOf<v1::RunConfig>(stored.record.config, "a run's configuration");
      if (config.ok()) {
        CHOIR_ASSIGN_OR_RETURN(run->second.of_config, BlobsOf(*config));
      } else {
        runs_.erase(run);
        return config.status();
      }
    }
    CHOIR_RETURN_IF_ERROR(ReadVersions(store, stored.record.run_id, run->second));
  }
  return absl::OkStatus();
}

std::set<Digest> BlobsInUse::All(const v1::Manifest& manifest, uint32_t keep_versions) const {
  std::set<Digest> all;
  for (const std::string& model : manifest.base_model_digests()) {
    if (const auto digest = DigestFrom(model, "base_model_digests"); digest.ok()) {
      all.insert(*digest);
    }
  }
  for (const auto& [id, run] : runs_) {
    all.insert(run.of_config.begin(), run.of_config.end());
    const size_t count = run.versions.size();
    const size_t kept = keep_versions == 0 ? count : std::min<size_t>(count, keep_versions);
    const Version* best = nullptr;
    for (size_t i = 0; i < count; ++i) {
      const Version& version = run.versions[i];
      if (i + kept >= count) all.insert(version.blobs.begin(), version.blobs.end());
      const bool better = version.held_out_nll.has_value() &&
                          (best == nullptr || *version.held_out_nll <= *best->held_out_nll);
      if (better) best = &version;
    }
    if (best != nullptr) all.insert(best->blobs.begin(), best->blobs.end());
    if (count > 0 && run.versions.back().server_state.has_value()) {
      all.insert(*run.versions.back().server_state);
    }
  }
  return all;
}

absl::Status CheckRunBlobs(const v1::RunConfig& config, BlobStore& blobs) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<Digest> wanted, BlobsOf(config));
  for (const Digest& digest : wanted) {
    CHOIR_ASSIGN_OR_RETURN(const BlobInfo info, blobs.Stat(digest));
    if (info.complete) continue;
    return absl::NotFoundError(fmt::format(
        "there is no blob {}: upload it, and start the run again", DigestToHex(digest)));
  }
  return absl::OkStatus();
}

absl::StatusOr<SweptBlobs> SweepBlobs(Store& store, BlobStore& blobs,
                                      const std::vector<BlobEntry>& found,
                                      const std::set<Digest>& kept, absl::Duration unused_for,
                                      absl::Time now) {
  const std::string owner(kUnusedBlobs);
  CHOIR_ASSIGN_OR_RETURN(const std::vector<PieceRecord> noted, store.ListPieces(owner));
  std::map<std::string, std::string> before;
  for (const PieceRecord& note : noted) before[note.key] = note.value;
  Batch::PieceWrite notes{owner, false, {}};
  std::vector<BlobEntry> due;
  std::set<std::string> unused;
  for (const BlobEntry& blob : found) {
    if (kept.contains(blob.digest)) continue;
    const std::string key = KeyOf(blob.digest);
    unused.insert(key);
    const auto note = before.find(key);
    const std::optional<absl::Time> since =
        note == before.end() ? std::nullopt : TimeOf(note->second, blob.info);
    if (!since.has_value()) {
      notes.pieces.push_back({key, NoteOf(blob.info, absl::ToUnixSeconds(now))});
    } else if (now - *since >= unused_for) {
      due.push_back(blob);
    }
  }
  // What is used again, or gone.
  for (const auto& [key, note] : before) {
    if (!unused.contains(key)) notes.pieces.push_back({key, {}});
  }
  if (!notes.pieces.empty()) {
    Batch batch;
    batch.pieces = {std::move(notes)};
    CHOIR_RETURN_IF_ERROR(store.Commit(batch));
  }
  CHOIR_FAILPOINT("coordinator-unused-blobs-noted");
  SweptBlobs swept;
  for (const BlobEntry& blob : due) {
    CHOIR_RETURN_IF_ERROR(blobs.Remove(blob.digest));
    CHOIR_FAILPOINT("coordinator-blob-removed");
    ++swept.blobs;
    swept.bytes += blob.info.stored_bytes;
  }
  return swept;
}

void SweepSpool(const std::string& spool, const std::map<std::string, uint64_t>& rounds) {
  std::error_code ignored;
  for (const auto& run : std::filesystem::directory_iterator(spool, ignored)) {
    const auto going_on = rounds.find(run.path().filename().string());
    if (going_on == rounds.end()) {
      std::filesystem::remove_all(run.path(), ignored);
      continue;
    }
    for (const auto& round : std::filesystem::directory_iterator(run.path(), ignored)) {
      if (round.path().filename().string() == fmt::format("{}", going_on->second)) continue;
      std::filesystem::remove_all(round.path(), ignored);
    }
  }
}

}  // namespace choir::coordinator
