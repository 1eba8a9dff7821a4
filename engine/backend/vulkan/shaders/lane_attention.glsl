// Attention on a device that is a CPU (docs/decisions/0024-lane-shaders.md): an invocation is a lane
// of the CPU's vectors and goes alone through all keys of its query (or queries of its key), so that
// nothing passes between lanes. Rows of q, k, v and gradients come from texel buffers, four numbers
// at once: row `t` of head `h` is `quads * (t * heads + h)` texels in. D is a multiple of 4.
#extension GL_EXT_control_flow_attributes : require
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint kQuads = 16u;  // D / 4
const uint kLanes = 8u;

float Total(vec4 v) { return v.x + v.y + v.z + v.w; }

// x: the scaled, capped score of a product; y: its slope by the product.
vec2 Score(float product, float scale, float softcap) {
  const float score = product * scale;
  if (softcap <= 0.0) return vec2(score, scale);
  const float t = tanh(clamp(score / softcap, -15.0, 15.0));
  return vec2(softcap * t, scale * (1.0 - t * t));
}
