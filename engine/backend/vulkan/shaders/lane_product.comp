// out[i][j] = alpha * sum_k U[i][k] V[j][k]  [+ acc[i][j]]: all products of a device that is a CPU
// (docs/decisions/0024-lane-shaders.md). An invocation is a lane of the CPU's vectors and holds
// kRows x kColumns results; the lanes read the same U and columns of V of their own, four numbers at
// once, from texel buffers. No shared memory, no barrier, few loads for many products.
// U: with kUAlongK rows i of ld_u texels with four k each, else rows k with four i each; V likewise.
// Element (i, j) of out and acc: i * row_step + j * column_step. acc may be out.
// Groups (ceil(I/kRows), ceil(J/(8*kColumns))). kRows is a multiple of 4, kColumns of 2, and without
// kVAlongK of 4. Loops have constant bounds, so that the driver unrolls them and no array is left.
#version 450
#extension GL_EXT_control_flow_attributes : require
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint kRows = 16u;
layout(constant_id = 1) const uint kColumns = 8u;
layout(constant_id = 2) const bool kUAlongK = true;
layout(constant_id = 3) const bool kVAlongK = true;
layout(constant_id = 4) const bool kAccumulate = false;
layout(push_constant) uniform Params {
  uint u_at, v_at, out_at, acc_at;
  uint rows, cols, depth, ld_u, ld_v, row_step, column_step;
  float alpha;
} p;
layout(binding = 0) uniform textureBuffer u_texels;
layout(binding = 1) uniform textureBuffer v_texels;
layout(binding = 2, std430) writeonly buffer Out { float sum[]; };
layout(binding = 3, std430) readonly buffer Acc { float acc[]; };
const uint kLanes = 8u;

uint Column(uint j0, uint j) {
  const uint lane = gl_LocalInvocationIndex;
  return j0 + (kVAlongK ? j * kLanes + lane : (j / 4u * kLanes + lane) * 4u + j % 4u);
}

uint Place(uint i, uint column) {
  return min(i, p.rows - 1u) * p.row_step + column * p.column_step;
}

// Past the end of k any number of V may stand: U is zero there. Past the other ends stand numbers of
// the last row or column, for results that nobody stores.
vec4 LoadU(uint i0, uint i, uint k0, bvec4 inside) {
  if (kUAlongK) {
    const uint at = min(i0 + i, p.rows - 1u) * p.ld_u + k0 / 4u;
    return mix(vec4(0.0), p.alpha * texelFetch(u_texels, int(p.u_at + at)), inside);
  }
  const uint k = min(k0 + i % 4u, p.depth - 1u);
  const uint at = k * p.ld_u + min((i0 + i) / 4u, p.ld_u - 1u);
  return mix(vec4(0.0), p.alpha * texelFetch(u_texels, int(p.u_at + at)), bvec4(inside[i % 4u]));
}

vec4 LoadV(uint j0, uint j, uint k0) {
  const uint lane = gl_LocalInvocationIndex;
  if (kVAlongK) {
    const uint column = min(j0 + j * kLanes + lane, p.cols - 1u);
    return texelFetch(v_texels, int(p.v_at + column * p.ld_v + k0 / 4u));
  }
  const uint k = min(k0 + j % 4u, p.depth - 1u);
  const uint quad = min(j0 / 4u + j / 4u * kLanes + lane, p.ld_v - 1u);
  return texelFetch(v_texels, int(p.v_at + k * p.ld_v + quad));
}

void main() {
  const uint i0 = gl_WorkGroupID.x * kRows;
  const uint j0 = gl_WorkGroupID.y * (kLanes * kColumns);
  float sums[kRows][kColumns];
  [[unroll]] for (uint i = 0u; i < kRows; ++i) {
    [[unroll]] for (uint j = 0u; j < kColumns; ++j) {
      sums[i][j] = kAccumulate ? acc[p.acc_at + Place(i0 + i, min(Column(j0, j), p.cols - 1u))] : 0.0;
    }
  }
  for (uint k0 = 0u; k0 < p.depth; k0 += 4u) {
    const bvec4 inside = lessThan(uvec4(k0) + uvec4(0u, 1u, 2u, 3u), uvec4(p.depth));
    vec4 u[kRows];
    vec4 v[kColumns];
    [[unroll]] for (uint i = 0u; i < kRows; ++i) u[i] = LoadU(i0, i, k0, inside);
    [[unroll]] for (uint j = 0u; j < kColumns; ++j) v[j] = LoadV(j0, j, k0);
    // Blocks of 4 x 2: their sums stay in registers for four k.
    [[unroll]] for (uint ib = 0u; ib < kRows; ib += 4u) {
      [[unroll]] for (uint jb = 0u; jb < kColumns; jb += 2u) {
        [[unroll]] for (uint k = 0u; k < 4u; ++k) {
          [[unroll]] for (uint i = 0u; i < 4u; ++i) {
            [[unroll]] for (uint j = 0u; j < 2u; ++j) {
              const float left = kUAlongK ? u[ib + i][k] : u[ib + k][i];
              const float right = kVAlongK ? v[jb + j][k] : v[jb / 4u * 4u + k][jb % 4u + j];
              sums[ib + i][jb + j] += left * right;
            }
          }
        }
      }
    }
  }
  // A row past the end repeats the last one, number and place.
  [[unroll]] for (uint j = 0u; j < kColumns; ++j) {
    const uint column = Column(j0, j);
    if (column < p.cols) {
      [[unroll]] for (uint i = 0u; i < kRows; ++i) sum[p.out_at + Place(i0 + i, column)] = sums[i][j];
    }
  }
}
