// Rotary positions: turns pair i of each head by pos * turns[i] / factors[i] full turns (Su et al.
// 2021). turns[i] = pos_scale * base^(-2i/n_rot) / (2 pi), computed by the host in double precision and
// given as a sum of two floats. The angle is reduced in integers (a turn is 2^32), because a GPU's
// sin and cos are only good to 2^-11, and only within [-pi, pi].
// One invocation a pair, or a column that is not turned; groups over T*H*(D - n_rot/2).
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
  uint x_at, pos_at, turns_at, factors_at, y_at;
  uint count, heads, head_size, n_rot, halves, has_factors;
  float direction;  // 1, or -1 for the inverse
} p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) readonly buffer Pos { int positions[]; };
layout(binding = 2, std430) readonly buffer Turns { float turns[]; };
#define WEIGHT_BINDING 3
#include "weights.glsl"
layout(binding = 4, std430) writeonly buffer Y { float y[]; };
#include "flat_index.glsl"

// cos and sin of `turn` / 2^32 turns: Taylor series on [-pi/4, pi/4] after taking off quarter turns;
// error below 1e-7.
vec2 CosSin(uint turn) {
  const uint quarter = (turn + 0x20000000u) >> 30;
  const float a = float(int(turn - (quarter << 30))) * 1.4629180792671596e-9;  // 2 pi / 2^32
  const float z = a * a;
  const float s = a * (1.0 + z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z / 362880.0))));
  const float c = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z / 40320.0)));
  if (quarter == 0u) return vec2(c, s);
  if (quarter == 1u) return vec2(-s, c);
  if (quarter == 2u) return vec2(-c, -s);
  return vec2(s, -c);
}

// Turns a position in 2^-32 turns, modulo one turn.
uint TurnOf(uint i) {
  float high = turns[p.turns_at + 2u * i];
  float low = turns[p.turns_at + 2u * i + 1u];
  if (p.has_factors != 0u) {
    const float factor = LoadQuad(p.factors_at, i & ~3u)[i & 3u];
    const float quotient = high / factor;
    precise float rest = fma(-quotient, factor, high);
    low = (rest + low) / factor;
    high = quotient;
  }
  high -= floor(high);
  return uint(high * 4294967296.0) + uint(int(round(low * 4294967296.0)));
}

void main() {
  const uint index = FlatIndex();
  if (index >= p.count) return;
  const uint half_rot = p.n_rot / 2u;
  const uint lanes = p.head_size - half_rot;
  const uint i = index % lanes;
  const uint row = index / lanes;  // t * heads + head
  const uint x_row = p.x_at + row * p.head_size;
  const uint y_row = p.y_at + row * p.head_size;
  if (i >= half_rot) {
    y[y_row + half_rot + i] = x[x_row + half_rot + i];
    return;
  }
  const uint first = p.halves != 0u ? i : 2u * i;
  const uint second = p.halves != 0u ? i + half_rot : 2u * i + 1u;
  const vec2 cs = CosSin(uint(positions[p.pos_at + row / p.heads]) * TurnOf(i));
  const float s = cs.y * p.direction;
  const float a = x[x_row + first];
  const float b = x[x_row + second];
  y[y_row + first] = a * cs.x - b * s;
  y[y_row + second] = a * s + b * cs.x;
}
