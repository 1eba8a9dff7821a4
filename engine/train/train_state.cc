#include "engine/train/train_state.h"

#include <bit>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is little-endian");

constexpr std::string_view kMagic = "CHOIRTRN";
constexpr uint32_t kVersion = 2;
// Far above a real position ("choir-packer 3 ..." is shorter than 80 bytes).
constexpr uint32_t kMaxPositionBytes = 4096;
// 4 x 4 bytes a parameter: an adapter of a billion parameters.
constexpr uint64_t kMaxFileBytes = uint64_t{16} << 30;

template <typename T>
void Append(std::string& out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void AppendFloats(std::string& out, std::span<const float> values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

// Takes values from the front of `rest`; false, for good, once something is missing.
class Cursor {
 public:
  explicit Cursor(std::string_view rest) : rest_(rest) {}

  template <typename T>
  void Take(T& value) {
    const std::string_view bytes = TakeBytes(sizeof(T));
    if (ok_) std::memcpy(&value, bytes.data(), sizeof(T));
  }

  std::string_view TakeBytes(uint64_t count) {
    ok_ = ok_ && count <= rest_.size();
    if (!ok_) return {};
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }

  void TakeFloats(uint64_t count, std::vector<float>& values) {
    // `count` was compared with what is left before anything is allocated.
    const std::string_view bytes = TakeBytes(count * sizeof(float));
    if (!ok_) return;
    values.resize(count);
    if (bytes.empty()) return;  // an empty vector has no place to copy to
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] uint64_t left() const { return rest_.size(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

absl::Status Damaged(std::string_view why) {
  return absl::DataLossError(fmt::format("the checkpoint is damaged: {}", why));
}

absl::Status CheckHeader(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) {
    return absl::InvalidArgumentError("this is not a training checkpoint");
  }
  uint32_t version = 0;
  Cursor cursor(bytes.substr(kMagic.size()));
  cursor.Take(version);
  if (!cursor.ok()) return Damaged("it ends within its header");
  if (version != kVersion) {
    return absl::InvalidArgumentError(
        fmt::format("the checkpoint has version {}, this program reads {}", version, kVersion));
  }
  return absl::OkStatus();
}

void Append(std::string& out, const EvaluationRecord& record) {
  Append(out, record.evaluations);
  Append(out, record.first_loss);
  Append(out, record.best_loss);
  Append(out, record.last_loss);
  Append(out, record.best_step);
  Append(out, record.last_step);
  Append(out, record.without_gain);
}

void Take(Cursor& cursor, EvaluationRecord& record) {
  cursor.Take(record.evaluations);
  cursor.Take(record.first_loss);
  cursor.Take(record.best_loss);
  cursor.Take(record.last_loss);
  cursor.Take(record.best_step);
  cursor.Take(record.last_step);
  cursor.Take(record.without_gain);
}

// A record that no run can have written.
bool ContradictsItself(const EvaluationRecord& record, int64_t step) {
  return record.without_gain > record.evaluations || record.best_step < 0 ||
         record.best_step > record.last_step || record.last_step > step;
}

uint64_t NumVectors(const EvaluationRecord& record) {
  return record.evaluations > 0 ? 4 : 3;
}

// Takes what follows the number of parameters, which must fill `cursor` to its end.
absl::Status TakeParameters(Cursor& cursor, uint64_t count, TrainState& state) {
  const uint64_t vectors = NumVectors(state.evaluations);
  const uint64_t stride = vectors * sizeof(float);
  if (cursor.left() % stride != 0 || cursor.left() / stride != count) {
    return Damaged(
        fmt::format("{} x {} parameters do not fill {} bytes", vectors, count, cursor.left()));
  }
  cursor.TakeFloats(count, state.parameters);
  cursor.TakeFloats(count, state.first_moment);
  cursor.TakeFloats(count, state.second_moment);
  if (vectors == 4) cursor.TakeFloats(count, state.best_parameters);
  return absl::OkStatus();
}

// Everything before the vectors.
std::string SerializeHead(const TrainState& state, uint64_t num_parameters) {
  std::string out(kMagic);
  Append(out, kVersion);
  Append(out, state.identity.base_model);
  Append(out, state.identity.config);
  Append(out, state.identity.data);
  Append(out, state.identity.start);
  Append(out, state.step);
  Append(out, state.totals.nll);
  Append(out, state.totals.weight);
  Append(out, state.totals.tokens);
  Append(out, state.totals.examples);
  Append(out, state.evaluations);
  Append(out, static_cast<uint32_t>(state.position.size()));
  out += state.position;
  Append(out, num_parameters);
  return out;
}

}  // namespace

std::string SerializeTrainState(const TrainState& state) {
  std::string out = SerializeHead(state, state.parameters.size());
  // Once, not by doubling: adapters of large models take hundreds of MiB.
  out.reserve(out.size() + sizeof(Digest) +
              sizeof(float) * (state.parameters.size() + state.first_moment.size() +
                               state.second_moment.size() + state.best_parameters.size()));
  AppendFloats(out, state.parameters);
  AppendFloats(out, state.first_moment);
  AppendFloats(out, state.second_moment);
  AppendFloats(out, state.best_parameters);
  Append(out, Sha256Of(out));
  return out;
}

absl::StatusOr<TrainState> ParseTrainState(std::string_view bytes) {
  CHOIR_RETURN_IF_ERROR(CheckHeader(bytes));
  Digest stored{};
  if (bytes.size() < kMagic.size() + sizeof(kVersion) + stored.size()) {
    return Damaged(fmt::format("{} bytes are too few", bytes.size()));
  }
  const std::string_view content = bytes.substr(0, bytes.size() - stored.size());
  std::memcpy(stored.data(), bytes.data() + content.size(), stored.size());
  if (Sha256Of(content) != stored) return Damaged("its checksum does not match its content");

  TrainState state;
  Cursor cursor(content.substr(kMagic.size() + sizeof(kVersion)));
  cursor.Take(state.identity.base_model);
  cursor.Take(state.identity.config);
  cursor.Take(state.identity.data);
  cursor.Take(state.identity.start);
  cursor.Take(state.step);
  cursor.Take(state.totals.nll);
  cursor.Take(state.totals.weight);
  cursor.Take(state.totals.tokens);
  cursor.Take(state.totals.examples);
  Take(cursor, state.evaluations);
  uint32_t position_bytes = 0;
  cursor.Take(position_bytes);
  if (position_bytes > kMaxPositionBytes) return Damaged("its data position is too long");
  state.position = cursor.TakeBytes(position_bytes);
  uint64_t count = 0;
  cursor.Take(count);
  if (!cursor.ok() || state.step < 0) return Damaged("it ends too early");
  if (ContradictsItself(state.evaluations, state.step)) {
    return Damaged("its record of evaluations contradicts itself");
  }
  CHOIR_RETURN_IF_ERROR(TakeParameters(cursor, count, state));
  return state;
}

absl::Status WriteTrainState(const TrainState& head, uint64_t num_parameters,
                             const StateVectors& vectors, const std::string& path) {
  // The weights were shaped by private text.
  CHOIR_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path, 0600));
  Sha256 hash;
  const auto append = [&](std::span<const uint8_t> bytes) {
    hash.Update(bytes);
    return file.Append(bytes);
  };
  CHOIR_RETURN_IF_ERROR(append(AsBytes(SerializeHead(head, num_parameters))));
  for (size_t i = 0; i < NumVectors(head.evaluations); ++i) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<float> values, vectors(i));
    CHOIR_CHECK(values.size() == num_parameters);
    CHOIR_RETURN_IF_ERROR(
        append({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)}));
  }
  const Digest digest = hash.Finish();
  CHOIR_RETURN_IF_ERROR(file.Append(digest));
  return file.Commit();
}

absl::StatusOr<TrainState> ReadTrainState(const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxFileBytes));
  absl::StatusOr<TrainState> state = ParseTrainState(bytes);
  if (!state.ok()) {
    return absl::Status(state.status().code(),
                        fmt::format("{}: {}", path, std::string(state.status().message())));
  }
  return state;
}

absl::Status CheckSameRun(const TrainIdentity& checkpoint, const TrainIdentity& run) {
  const char* difference = nullptr;
  if (checkpoint.base_model != run.base_model) {
    difference = "another base model";
  } else if (checkpoint.start != run.start) {
    difference = "another starting adapter (rank, modules, seed or --init)";
  } else if (checkpoint.data != run.data) {
    difference = "other training data";
  } else if (checkpoint.config != run.config) {
    difference = "other training settings";
  }
  if (difference == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("the checkpoint belongs to a run with {}", difference));
}

}  // namespace choir::engine
