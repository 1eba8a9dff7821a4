// scale[i] = the power of two for row i of x (half_scale.glsl), x: `cols` columns from x_at on of rows
// of ld_x. One workgroup a row: groups (T).
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : enable
layout(local_size_x = 64) in;
const uint kThreads = 64u;
layout(push_constant) uniform Params { uint x_at, scale_at, cols, ld_x; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) writeonly buffer Scale { float scale[]; };
#include "half_scale.glsl"
#include "reduce.glsl"

void main() {
  const uint row = gl_WorkGroupID.x;
  float peak = 0.0;
  for (uint c = gl_LocalInvocationIndex; c < p.cols; c += kThreads) {
    peak = max(peak, abs(x[p.x_at + row * p.ld_x + c]));
  }
  peak = WorkgroupMax(peak);
  if (gl_LocalInvocationIndex == 0u) scale[p.scale_at + row] = HalfScale(floatBitsToUint(peak));
}
