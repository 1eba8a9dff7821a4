// sum[0] += sum of x[0..count). One workgroup.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : enable
layout(local_size_x = 256) in;
const uint kThreads = 256u;
layout(push_constant) uniform Params { uint x_at, sum_at, count; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) buffer Sum { float sum[]; };
#include "reduce.glsl"

void main() {
  float total = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < p.count; i += kThreads) total += x[p.x_at + i];
  total = WorkgroupSum(total);
  if (gl_LocalInvocationIndex == 0u) sum[p.sum_at] += total;
}
