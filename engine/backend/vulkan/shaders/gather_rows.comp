// y[n] = x[rows[n]]; a row number outside x gives zeros. Groups (C/64, N).
#version 450
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint x_at, rows_at, y_at, cols, x_rows; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) readonly buffer Rows { int rows[]; };
layout(binding = 2, std430) writeonly buffer Y { float y[]; };

void main() {
  const uint col = gl_GlobalInvocationID.x;
  const uint n = gl_WorkGroupID.y;
  if (col >= p.cols) return;
  const uint row = uint(rows[p.rows_at + n]);
  const float value = row < p.x_rows ? x[p.x_at + row * p.cols + col] : 0.0;
  y[p.y_at + n * p.cols + col] = value;
}
