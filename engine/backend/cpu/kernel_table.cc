#include "engine/backend/cpu/kernel_table.h"

#include <iterator>

#include "base/check.h"

namespace choir::engine {
namespace {

constexpr const CpuKernel* kKernels[] = {
#define CHOIR_OP(Name) &k##Name##CpuKernel,
#include "engine/ops/ops.def"
#undef CHOIR_OP
};

}  // namespace

const CpuKernel& CpuKernelOf(const OpSchema& op) {
  const size_t index = OpIndex(op);
  CHOIR_CHECK(index < std::size(kKernels));
  return *kKernels[index];
}

}  // namespace choir::engine
