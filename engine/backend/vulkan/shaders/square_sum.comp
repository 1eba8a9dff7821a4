// partial[group] = sum of x[i]^2 over the group's stripe: i = group*256 + lane + k*stride. The order
// of the sum is fixed, so the result is too.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : enable
layout(local_size_x = 256) in;
const uint kThreads = 256u;
layout(push_constant) uniform Params { uint x_at, partial_at, count; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) writeonly buffer Partial { float partial[]; };
#include "reduce.glsl"

void main() {
  const uint stride = gl_NumWorkGroups.x * kThreads;
  float sum = 0.0;
  for (uint i = gl_GlobalInvocationID.x; i < p.count; i += stride) {
    const float value = x[p.x_at + i];
    sum += value * value;
  }
  sum = WorkgroupSum(sum);
  if (gl_LocalInvocationIndex == 0u) partial[p.partial_at + gl_WorkGroupID.x] = sum;
}
