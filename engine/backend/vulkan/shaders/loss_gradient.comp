// Replaces one chunk of logits z (T, n) by the gradient of the loss with respect to them:
//   scale * weights[t] * (softmax(z)[i] - (i == target)), times 1 - (z/softcap)^2 where capped;
// zeros where weights[t] == 0. One invocation an entry: groups (ceil(n/256), T).
#version 450
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
  uint z_at, targets_at, weights_at, state_at, scale_at;
  uint first_entry, entries;
  float softcap;
} p;
layout(binding = 0, std430) buffer Z { float z[]; };
layout(binding = 1, std430) readonly buffer Targets { int targets[]; };
layout(binding = 2, std430) readonly buffer TokenWeights { float token_weights[]; };
layout(binding = 3, std430) readonly buffer State { float state[]; };
layout(binding = 4, std430) readonly buffer Scale { float scale[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  const uint t = gl_WorkGroupID.y;
  if (i >= p.entries) return;
  const uint at = p.z_at + t * p.entries + i;
  const float weight = token_weights[p.weights_at + t];
  if (weight == 0.0) {
    z[at] = 0.0;
    return;
  }
  float logit = z[at];
  float slope = scale[p.scale_at] * weight;
  if (p.softcap > 0.0) {
    const float capped = tanh(clamp(logit / p.softcap, -15.0, 15.0));
    logit = p.softcap * capped;
    slope *= 1.0 - capped * capped;
  }
  float probability = exp(logit - state[p.state_at + 3u * t]) / state[p.state_at + 3u * t + 1u];
  if (uint(targets[p.targets_at + t]) == p.first_entry + i) probability -= 1.0;
  z[at] = slope * probability;
}
