#include "engine/model/model.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/missing_tokenizer.h"

namespace choir::engine {
namespace {

absl::Status WithPath(const absl::Status& status, const std::string& path) {
  return absl::Status(status.code(), fmt::format("{}: {}", path, std::string(status.message())));
}

// The file's tokenizer, or a stand-in where the file has none that this build can read.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadOrMissing(const GgufFile& file,
                                                         const ModelSpec& spec,
                                                         const std::string& path) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = LoadTokenizer(file);
  if (tokenizer.ok()) return tokenizer;
  const absl::Status status = WithPath(tokenizer.status(), path);
  if (!absl::IsUnimplemented(status) && file.Has("tokenizer.ggml.model")) return status;
  return MakeMissingTokenizer(status, static_cast<int32_t>(spec.vocabulary));
}

void AddTarget(const GgufFile& file, std::string name, std::vector<LoraTarget>& targets) {
  const GgufTensor* tensor = file.FindTensor(name);
  if (tensor == nullptr) return;
  targets.push_back({std::move(name), static_cast<int64_t>(tensor->num_rows()),
                     static_cast<int64_t>(tensor->row_elements())});
}

}  // namespace

Model::Model(MappedFile map, GgufFile file, ModelSpec spec, std::unique_ptr<Tokenizer> tokenizer)
    : map_(std::move(map)),
      file_(std::move(file)),
      spec_(std::move(spec)),
      tokenizer_(std::move(tokenizer)) {}

absl::StatusOr<Model> Model::Open(const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(MappedFile map, MappedFile::Open(path));
  absl::StatusOr<GgufFile> file = GgufFile::Parse(map.bytes());
  if (!file.ok()) return WithPath(file.status(), path);
  absl::StatusOr<ModelSpec> spec = ReadModelSpec(*file);
  if (!spec.ok()) return WithPath(spec.status(), path);
  CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, LoadOrMissing(*file, *spec, path));
  if (tokenizer->vocabulary_size() != spec->vocabulary) {
    return absl::InvalidArgumentError(
        fmt::format("{}: the tokenizer has {} tokens, token_embd.weight {} rows", path,
                    tokenizer->vocabulary_size(), spec->vocabulary));
  }
  return Model(std::move(map), *std::move(file), *std::move(spec), std::move(tokenizer));
}

std::vector<LoraTarget> Model::LoraTargets() const {
  std::vector<LoraTarget> targets;
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    for (const std::string_view module : kBlockModuleNames) {
      AddTarget(file_, LayerWeightName(static_cast<int64_t>(layer), module), targets);
    }
  }
  if (spec_.tied_output) return targets;
  AddTarget(file_, std::string(kOutputTensor), targets);
  AddTarget(file_, std::string(kTokenEmbdTensor), targets);
  return targets;
}

Digest Model::Sha256() const {
  // A piece at a time, so that a file larger than memory stays in it no longer than it must.
  constexpr size_t kPieceBytes = size_t{16} << 20;
  choir::Sha256 hash;
  for (std::span<const uint8_t> rest = map_.bytes(); !rest.empty();) {
    const std::span<const uint8_t> piece = rest.first(std::min(rest.size(), kPieceBytes));
    hash.Update(piece);
    ReleaseMapped(piece);
    rest = rest.subspan(piece.size());
  }
  return hash.Finish();
}

absl::Status Model::CheckTokens(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < spec_.vocabulary) continue;
    return absl::InvalidArgumentError(
        fmt::format("token {} is {}; the vocabulary has {} tokens", i, ids[i], spec_.vocabulary));
  }
  return absl::OkStatus();
}

}  // namespace choir::engine
