// dx = rstd * dy*w - x * rstd^3 * mean_c(dy*w*x) [+ acc]. One workgroup a token and group of `width`
// columns: groups (T, G).
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : enable
layout(local_size_x = 64) in;
const uint kThreads = 64u;
layout(push_constant) uniform Params {
  uint dy_at, x_at, w_at, rstd_at, acc_at, dx_at, width, accumulate;
} p;
layout(binding = 0, std430) readonly buffer Dy { float dy[]; };
layout(binding = 1, std430) readonly buffer X { float x[]; };
#define WEIGHT_BINDING 2
#include "weights.glsl"
layout(binding = 3, std430) readonly buffer Rstd { float rstd[]; };
layout(binding = 4, std430) readonly buffer Acc { float acc[]; };
layout(binding = 5, std430) writeonly buffer Dx { float dx[]; };
#include "reduce.glsl"

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint row = gl_WorkGroupID.x * gl_NumWorkGroups.y + gl_WorkGroupID.y;
  const uint at = row * p.width;
  float sum = 0.0;
  for (uint c = 4u * lane; c < p.width; c += 4u * kThreads) {
    const vec4 w = LoadQuad(p.w_at, c);
    for (uint i = 0u; i < 4u && c + i < p.width; ++i) {
      sum += dy[p.dy_at + at + c + i] * w[i] * x[p.x_at + at + c + i];
    }
  }
  const float r = rstd[p.rstd_at + row];
  const float slope = WorkgroupSum(sum) / float(p.width) * r * r * r;
  for (uint c = 4u * lane; c < p.width; c += 4u * kThreads) {
    const vec4 w = LoadQuad(p.w_at, c);
    for (uint i = 0u; i < 4u && c + i < p.width; ++i) {
      const uint k = at + c + i;
      // One rounding less where the two nearly cancel.
      float value = fma(-slope, x[p.x_at + k], r * (dy[p.dy_at + k] * w[i]));
      if (p.accumulate != 0u) value += acc[p.acc_at + k];
      dx[p.dx_at + k] = value;
    }
  }
}
