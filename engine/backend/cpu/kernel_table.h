#ifndef CHOIR_ENGINE_BACKEND_CPU_KERNEL_TABLE_H_
#define CHOIR_ENGINE_BACKEND_CPU_KERNEL_TABLE_H_

#include "engine/backend/cpu/cpu_kernel.h"
#include "engine/ops/ops.h"

namespace choir::engine {

// One constant an op, defined in the file of its family: a missing kernel fails the link.
#define CHOIR_OP(Name) extern const CpuKernel k##Name##CpuKernel;
#include "engine/ops/ops.def"
#undef CHOIR_OP

const CpuKernel& CpuKernelOf(const OpSchema& op);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_KERNEL_TABLE_H_
