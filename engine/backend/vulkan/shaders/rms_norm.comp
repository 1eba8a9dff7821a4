// y[t][g][c] = x[t][g][c] * w[c] * rstd, rstd[t][g] = 1/sqrt(mean_c(x^2) + eps)  (Zhang and Sennrich
// 2019). One workgroup a token and group of `width` columns: groups (T, G).
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : enable
layout(local_size_x = 64) in;
const uint kThreads = 64u;
layout(push_constant) uniform Params {
  uint x_at, w_at, y_at, rstd_at, width;
  float eps;
} p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
#define WEIGHT_BINDING 1
#include "weights.glsl"
layout(binding = 2, std430) writeonly buffer Y { float y[]; };
layout(binding = 3, std430) writeonly buffer Rstd { float rstd[]; };
#include "reduce.glsl"

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint row = gl_WorkGroupID.x * gl_NumWorkGroups.y + gl_WorkGroupID.y;
  const uint x_row = p.x_at + row * p.width;
  float sum = 0.0;
  for (uint c = lane; c < p.width; c += kThreads) sum += x[x_row + c] * x[x_row + c];
  const float r = 1.0 / sqrt(WorkgroupSum(sum) / float(p.width) + p.eps);
  if (lane == 0u) rstd[p.rstd_at + row] = r;
  for (uint c = 4u * lane; c < p.width; c += 4u * kThreads) {
    const vec4 w = LoadQuad(p.w_at, c);
    for (uint i = 0u; i < 4u && c + i < p.width; ++i) {
      y[p.y_at + row * p.width + c + i] = x[x_row + c + i] * r * w[i];
    }
  }
}
