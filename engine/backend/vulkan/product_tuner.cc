#include "engine/backend/vulkan/product_tuner.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "engine/backend/vulkan/pipeline_cache_file.h"
#include "engine/backend/vulkan/shader_table.h"

namespace choir::engine::vulkan {
namespace {

constexpr uint64_t kMaxFileBytes = 512u << 10;  // twice kMaxEntries of the table, of 150 bytes each

// Another choice must be this much faster than the first candidate, or chance would choose.
constexpr double kClearlyFaster = 0.95;

// Largest difference of a right result (Trials::Difference). On the random product that is compared
// (kernels/product_trials.cc) fp16's 11 bits make differences of 5e-4, bf16's 8 bits would make
// four times that; 16 bits of a vector make 1e-5. A wrong index or layout makes differences near 1.
double Tolerance(ProductWay way) {
  return way == ProductWay::kDot ? 1e-4 : 2e-3;
}

}  // namespace

std::string TuningPath(const std::string& cache_dir, const DeviceCaps& caps) {
  return cache_dir.empty() ? std::string() : PipelineCachePath(cache_dir, caps) + ".tuning";
}

std::string ShaderVersion() {
  Sha256 hash;
  for (const ShaderCode& shader : AllShaders()) {
    hash.Update(shader.name).UpdateU64(shader.words.size());
    hash.Update({reinterpret_cast<const uint8_t*>(shader.words.data()), shader.words.size_bytes()});
  }
  return DigestToHex(hash.Finish()).substr(0, 16);
}

TuningTable ReadTuning(const std::string& path) {
  if (path.empty()) return {};
  const auto text = ReadFile(path, kMaxFileBytes);
  return text.ok() ? TuningTable::FromText(*text, ShaderVersion()) : TuningTable();
}

ProductTuner::ProductTuner(std::string path, std::string version, std::optional<ProductWay> wanted)
    : path_(std::move(path)), version_(std::move(version)), wanted_(wanted) {
  if (path_.empty()) return;
  const auto text = ReadFile(path_, kMaxFileBytes);
  if (text.ok()) table_ = TuningTable::FromText(*text, version_);
}

bool ProductTuner::IsRight(const std::string& shader, const Choice& choice, Trials& trials) {
  if (choice.way == ProductWay::kPlain) return true;
  if (const auto known = table_.Checked(shader, choice)) return *known == Verdict::kRight;
  // Written down first: if the driver takes this process with it, the next one does not ask again.
  table_.SetChecked(shader, choice, Verdict::kTrying);
  changed_ = true;
  static_cast<void>(Save());
  const absl::StatusOr<double> difference = trials.Difference(choice);
  if (absl::IsResourceExhausted(difference.status())) {
    table_.Forget(shader, choice);
    return false;
  }
  // Not a number is not below.
  const bool right = difference.ok() && *difference < Tolerance(choice.way);
  table_.SetChecked(shader, choice, right ? Verdict::kRight : Verdict::kWrong);
  changed_ = true;
  static_cast<void>(Save());
  return right;
}

Choice ProductTuner::Wanted(const ProductClass& product, std::span<const Choice> candidates,
                            Trials& trials) {
  for (const Choice& choice : candidates) {
    if (choice.way == *wanted_ && IsRight(product.shader, choice, trials)) return choice;
  }
  return candidates.front();
}

Choice ProductTuner::Fastest(const ProductClass& product, std::span<const Choice> candidates,
                             Trials& trials) {
  if (candidates.size() == 1) return candidates.front();
  if (wanted_.has_value()) return Wanted(product, candidates, trials);
  if (const std::optional<Choice> known = table_.Find(product);
      known.has_value() &&
      std::find(candidates.begin(), candidates.end(), *known) != candidates.end() &&
      IsRight(product.shader, *known, trials)) {
    return *known;
  }
  Choice best = candidates.front();
  double best_seconds = 0;
  for (const Choice& choice : candidates) {
    if (!IsRight(product.shader, choice, trials)) continue;
    const absl::StatusOr<double> seconds = trials.Seconds(choice);
    if (choice == candidates.front()) {
      if (!seconds.ok()) return choice;
      best_seconds = *seconds * kClearlyFaster;
    } else if (seconds.ok() && *seconds < best_seconds) {
      best = choice;
      best_seconds = *seconds;
    }
  }
  table_.Set(product, best);
  changed_ = true;
  return best;
}

absl::Status ProductTuner::Save() {
  if (path_.empty() || !changed_) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(path_).parent_path().string()));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(path_, table_.ToText(version_)));
  changed_ = false;
  return absl::OkStatus();
}

}  // namespace choir::engine::vulkan
