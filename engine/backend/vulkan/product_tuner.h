#ifndef CHOIR_ENGINE_BACKEND_VULKAN_PRODUCT_TUNER_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_PRODUCT_TUNER_H_

#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"

#include "engine/backend/vulkan/device_caps.h"
#include "engine/backend/vulkan/tuning_table.h"

namespace choir::engine::vulkan {

// Chooses how large products are computed by trying, when a class of products is met for the first
// time. A way other than the plain one is compared with it first, once for each shader and block,
// and never used if it differs by more than its precision explains, or if a process ended while
// trying it. Blocks of the plain way change which invocation sums what, never the order of a sum:
// results are the same. Answers are kept in a file.
class ProductTuner {
 public:
  // One product as the tuner sees it.
  class Trials {
   public:
    virtual ~Trials() = default;
    // Of one run. RESOURCE_EXHAUSTED if there is no memory to try.
    virtual absl::StatusOr<double> Seconds(const Choice& choice) = 0;
    // Of a small product from the plain one: the largest one of an element, as a share of the
    // largest element of its row. Not finite if the result is not.
    virtual absl::StatusOr<double> Difference(const Choice& choice) = 0;
  };

  // `path`: where answers are kept; empty: nowhere. `version`: of the shaders; other versions'
  // answers are not believed. `wanted`: this way where it is among the candidates and right, the
  // plain one elsewhere, unmeasured; nothing: the fastest.
  ProductTuner(std::string path, std::string version, std::optional<ProductWay> wanted);

  // One of the candidates. The first, which must be plain, unless another is right and clearly
  // faster.
  Choice Fastest(const ProductClass& product, std::span<const Choice> candidates, Trials& trials);

  [[nodiscard]] const TuningTable& table() const { return table_; }
  [[nodiscard]] std::optional<ProductWay> wanted() const { return wanted_; }

  // Writes the file if something is new since it was last written.
  absl::Status Save();

 private:
  bool IsRight(const std::string& shader, const Choice& choice, Trials& trials);
  Choice Wanted(const ProductClass& product, std::span<const Choice> candidates, Trials& trials);

  std::string path_;
  std::string version_;
  std::optional<ProductWay> wanted_;
  TuningTable table_;
  bool changed_ = false;
};

// Where the tuner keeps its answers for this device and driver; empty if `cache_dir` is.
std::string TuningPath(const std::string& cache_dir, const DeviceCaps& caps);
// A name for all the shaders of this build.
std::string ShaderVersion();
// What the file of a device says of the ways it takes; empty without one.
TuningTable ReadTuning(const std::string& path);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_PRODUCT_TUNER_H_
