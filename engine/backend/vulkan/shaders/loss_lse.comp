// Folds one chunk of logits z (T, n), vocabulary entries v0..v0+n-1, into the running state of each
// token: state[t] = {peak, sum of exp(z - peak), logit of the target}; kLast writes nll. kFirst starts the state.
// One workgroup a token. weights[t] == 0: nothing is read, nll = 0.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : enable
layout(local_size_x = 256) in;
const uint kThreads = 256u;
const uint kFirst = 1u;
const uint kLast = 2u;
layout(push_constant) uniform Params {
  uint z_at, targets_at, weights_at, state_at, nll_at;
  uint first_entry, entries, phase;
  float softcap;
} p;
layout(binding = 0, std430) readonly buffer Z { float z[]; };
layout(binding = 1, std430) readonly buffer Targets { int targets[]; };
layout(binding = 2, std430) readonly buffer TokenWeights { float token_weights[]; };
layout(binding = 3, std430) buffer State { float state[]; };
layout(binding = 4, std430) writeonly buffer Nll { float nll[]; };
#include "reduce.glsl"

float Logit(uint i) {
  const float value = z[i];
  return p.softcap > 0.0 ? p.softcap * tanh(clamp(value / p.softcap, -15.0, 15.0)) : value;
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint t = gl_WorkGroupID.x;
  if (token_weights[p.weights_at + t] == 0.0) {  // the same for the whole workgroup
    if (lane == 0u && (p.phase & kLast) != 0u) nll[p.nll_at + t] = 0.0;
    return;
  }
  const uint row = p.z_at + t * p.entries;
  float peak = -3.4e38;
  for (uint i = lane; i < p.entries; i += kThreads) peak = max(peak, Logit(row + i));
  peak = WorkgroupMax(peak);
  float sum = 0.0;
  for (uint i = lane; i < p.entries; i += kThreads) sum += exp(Logit(row + i) - peak);
  sum = WorkgroupSum(sum);
  if (lane != 0u) return;

  const uint at = p.state_at + 3u * t;
  float target_logit = 0.0;
  if ((p.phase & kFirst) == 0u) {
    const float old_peak = state[at];
    const float old_sum = state[at + 1u];
    target_logit = state[at + 2u];
    const float top = max(peak, old_peak);
    sum = sum * exp(peak - top) + old_sum * exp(old_peak - top);
    peak = top;
  }
  const uint target = uint(targets[p.targets_at + t]);
  if (target >= p.first_entry && target - p.first_entry < p.entries) {
    target_logit = Logit(row + target - p.first_entry);
  }
  state[at] = peak;
  state[at + 1u] = sum;
  state[at + 2u] = target_logit;
  if ((p.phase & kLast) != 0u) nll[p.nll_at + t] = peak + log(sum) - target_logit;
}
