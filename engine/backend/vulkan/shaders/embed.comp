// y[t] = scale * table[ids[t]], for the ids that lie in this tile of the table's rows. An id outside
// the whole table gives zeros (from the first tile). One invocation a quad of columns; groups
// (C/4/64, T).
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 64) in;
layout(push_constant) uniform Params {
  uint ids_at, table_at, y_at, cols, row_bytes, first_row, tile_rows, all_rows;
  float scale;
} p;
layout(binding = 0, std430) readonly buffer Ids { int ids[]; };
#define WEIGHT_BINDING 1
#include "weights.glsl"
layout(binding = 2, std430) writeonly buffer Y { float y[]; };

void main() {
  const uint col = 4u * gl_GlobalInvocationID.x;
  const uint t = gl_WorkGroupID.y;
  if (col >= p.cols) return;
  const uint id = uint(ids[p.ids_at + t]);  // a negative one becomes too large
  vec4 quad = vec4(0.0);
  if (id >= p.first_row && id - p.first_row < p.tile_rows) {
    quad = p.scale * LoadQuad(p.table_at + (id - p.first_row) * p.row_bytes, col);
  } else if (id < p.all_rows || p.first_row > 0u) {
    return;  // another tile's
  }
  for (uint i = 0u; i < 4u && col + i < p.cols; ++i) y[p.y_at + t * p.cols + col + i] = quad[i];
}
