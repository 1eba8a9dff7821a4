#include "engine/ops/ops.h"

#include <fmt/format.h>

#include "base/check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

constexpr const OpSchema* kOps[] = {
#define CHOIR_OP(Name) &k##Name##Schema,
#include "engine/ops/ops.def"
#undef CHOIR_OP
};

}  // namespace

std::span<const OpSchema* const> AllOps() {
  return kOps;
}

absl::StatusOr<const OpSchema*> FindOp(std::string_view name) {
  for (const OpSchema* op : kOps) {
    if (op->name == name) return op;
  }
  return absl::NotFoundError(fmt::format("there is no op named {}", name));
}

size_t OpIndex(const OpSchema& op) {
  for (size_t i = 0; i < std::size(kOps); ++i) {
    if (kOps[i] == &op) return i;
  }
  CHOIR_CHECK(false && "an op that is not in ops.def");
}

}  // namespace choir::engine
