// The inner part of the products by cooperative matrices (MATRIX_KHR: GL_KHR_cooperative_matrix, else
// GL_NV_cooperative_matrix): a workgroup of four subgroups holds a tile of 64 x 64 results, each
// subgroup 32 x 32 of them. Factors are staged as fp16: of the left one rows scaled by row_scales.comp;
// of the right one the whole tile by one power of two, which shrinks when a step brings larger
// numbers, and the sums, f32, with it. Specialisation constants: the subgroup's size, the shape of a
// matrix. RIGHT_BY_COLUMN: the right tile lies as [n][k], else as [k][n].
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#ifdef MATRIX_KHR
#extension GL_KHR_cooperative_matrix : require
#else
#extension GL_NV_cooperative_matrix : require
#endif
layout(local_size_x_id = 0, local_size_y = 4) in;
layout(constant_id = 0) const uint kSubgroup = 32u;
layout(constant_id = 1) const uint kM = 16u;
layout(constant_id = 2) const uint kN = 16u;
layout(constant_id = 3) const uint kK = 16u;
const uint kTile = 64u;
const uint kPart = 32u;  // of the tile, a subgroup's
const uint kStep = 32u;
const uint kThreads = 4u * kSubgroup;
// Eight more than a row has: rows begin at whole 16 bytes, as a load wants, and in different banks.
const uint kLeftStride = kStep + 8u;
#ifdef RIGHT_BY_COLUMN
const uint kRightStride = kStep + 8u;
const uint kRightSize = kTile * kRightStride;
#else
const uint kRightStride = kTile + 8u;
const uint kRightSize = kStep * kRightStride;
#endif
const uint kQuads = kTile * kStep / 4u / kThreads;  // of the right tile that an invocation takes

#ifdef MATRIX_KHR
#define LEFT_MATRIX coopmat<float16_t, gl_ScopeSubgroup, kM, kK, gl_MatrixUseA>
#define RIGHT_MATRIX coopmat<float16_t, gl_ScopeSubgroup, kK, kN, gl_MatrixUseB>
#define SUM_MATRIX coopmat<float, gl_ScopeSubgroup, kM, kN, gl_MatrixUseAccumulator>
#define BY_ROW gl_CooperativeMatrixLayoutRowMajor
#define BY_COLUMN gl_CooperativeMatrixLayoutColumnMajor
#define LOAD_MATRIX coopMatLoad
#define STORE_MATRIX coopMatStore
#define MULTIPLY_ADD coopMatMulAdd
#else
#define LEFT_MATRIX fcoopmatNV<16, gl_ScopeSubgroup, kM, kK>
#define RIGHT_MATRIX fcoopmatNV<16, gl_ScopeSubgroup, kK, kN>
#define SUM_MATRIX fcoopmatNV<32, gl_ScopeSubgroup, kM, kN>
#define BY_ROW false
#define BY_COLUMN true
#define LOAD_MATRIX coopMatLoadNV
#define STORE_MATRIX coopMatStoreNV
#define MULTIPLY_ADD coopMatMulAddNV
#endif

shared float16_t left_tile[kTile * kLeftStride];  // [m][k]
shared float16_t right_tile[kRightSize];
shared float left_scale[kTile];
shared float result[4u * kM * kN];  // one matrix of each subgroup
shared float peaks[4];
SUM_MATRIX tile_sum[kPart / kM][kPart / kN];

#include "half_scale.glsl"

// Of all right factors that were staged so far; the sums have it in them.
float right_scale;

void ClearTile() {
  right_scale = HalfScale(0u);
  [[unroll]] for (uint i = 0u; i < kPart / kM; ++i) {
    [[unroll]] for (uint j = 0u; j < kPart / kN; ++j) tile_sum[i][j] = SUM_MATRIX(0.0);
  }
}

// Every invocation gives the largest magnitude of its own numbers of this step. Has a barrier.
void FitScale(float magnitude) {
  const float own = subgroupMax(magnitude);
  if (subgroupElect()) peaks[gl_SubgroupID] = own;
  barrier();
  const float peak = max(max(peaks[0], peaks[1]), max(peaks[2], peaks[3]));
  const float scale = HalfScale(floatBitsToUint(peak));
  if (scale >= right_scale) return;
  const float shrink = scale * Inverse(right_scale);
  right_scale = scale;
  [[unroll]] for (uint i = 0u; i < kPart / kM; ++i) {
    [[unroll]] for (uint j = 0u; j < kPart / kN; ++j) tile_sum[i][j] = tile_sum[i][j] * shrink;
  }
}

// tile_sum += left right. Call between two barriers.
void MultiplyTiles() {
  const uint row = gl_SubgroupID / 2u * kPart;
  const uint column = gl_SubgroupID % 2u * kPart;
  [[unroll]] for (uint k = 0u; k < kStep; k += kK) {
    LEFT_MATRIX left[kPart / kM];
    [[unroll]] for (uint i = 0u; i < kPart / kM; ++i) {
      LOAD_MATRIX(left[i], left_tile, (row + i * kM) * kLeftStride + k, kLeftStride, BY_ROW);
    }
    [[unroll]] for (uint j = 0u; j < kPart / kN; ++j) {
      RIGHT_MATRIX right;
#ifdef RIGHT_BY_COLUMN
      LOAD_MATRIX(right, right_tile, (column + j * kN) * kRightStride + k, kRightStride, BY_COLUMN);
#else
      LOAD_MATRIX(right, right_tile, k * kRightStride + column + j * kN, kRightStride, BY_ROW);
#endif
      [[unroll]] for (uint i = 0u; i < kPart / kM; ++i) {
        tile_sum[i][j] = MULTIPLY_ADD(left[i], right, tile_sum[i][j]);
      }
    }
  }
}

// Defined by the product: takes one result of the tile, scales taken out.
void StoreResult(uint row, uint column, float value);

void StoreTile() {
  const uint begin = gl_SubgroupID * kM * kN;
  [[unroll]] for (uint i = 0u; i < kPart / kM; ++i) {
    [[unroll]] for (uint j = 0u; j < kPart / kN; ++j) {
      STORE_MATRIX(tile_sum[i][j], result, begin, kN, BY_ROW);
      barrier();
      for (uint e = gl_SubgroupInvocationID; e < kM * kN; e += kSubgroup) {
        const uint row = gl_SubgroupID / 2u * kPart + i * kM + e / kN;
        const uint column = gl_SubgroupID % 2u * kPart + j * kN + e % kN;
        StoreResult(row, column,
                    result[begin + e] * Inverse(left_scale[row]) * Inverse(right_scale));
      }
      barrier();
    }
  }
}
