#ifndef CHOIR_BENCH_MODEL_SHAPE_H_
#define CHOIR_BENCH_MODEL_SHAPE_H_

// Networks of known sizes, for measurements that need no model file.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/model/model_spec.h"

namespace choir::bench {

struct ModelShape {
  std::string_view name;
  std::string_view architecture;
  int64_t layers = 0;
  int64_t channels = 0;
  int64_t feed_forward = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_size = 0;
  int64_t vocabulary = 0;
  bool tied_output = false;

  // The same as the engine's description; hyperparameters that no benchmark depends on at their
  // defaults.
  [[nodiscard]] engine::ModelSpec Spec() const;
};

// What `choir bench --quick` runs: large enough for every weight format, over in a second.
extern const ModelShape kQuickShape;

std::span<const ModelShape> AllModelShapes();
std::vector<std::string> ModelShapeNames();
// INVALID_ARGUMENT, listing those that there are.
absl::StatusOr<ModelShape> FindModelShape(std::string_view name);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_MODEL_SHAPE_H_
