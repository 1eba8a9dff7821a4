// AdamW (Loshchilov and Hutter 2019, in PyTorch's order). One invocation a parameter.
// hyper = {lr, beta1, beta2, eps, weight_decay, 1-beta1^t, 1-beta2^t, grad_scale}; zeroes grad.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint hyper_at, param_at, grad_at, m_at, v_at, count; } p;
layout(binding = 0, std430) readonly buffer Hyper { float hyper[]; };
layout(binding = 1, std430) buffer Param { float param[]; };
layout(binding = 2, std430) buffer Grad { float grad[]; };
layout(binding = 3, std430) buffer M { float m[]; };
layout(binding = 4, std430) buffer V { float v[]; };
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  const float lr = hyper[p.hyper_at];
  const float beta1 = hyper[p.hyper_at + 1u];
  const float beta2 = hyper[p.hyper_at + 2u];
  const float eps = hyper[p.hyper_at + 3u];
  const float decay = hyper[p.hyper_at + 4u];
  const float g = grad[p.grad_at + i] * hyper[p.hyper_at + 7u];
  const float first = beta1 * m[p.m_at + i] + (1.0 - beta1) * g;
  const float second = beta2 * v[p.v_at + i] + (1.0 - beta2) * g * g;
  m[p.m_at + i] = first;
  v[p.v_at + i] = second;
  const float decayed = param[p.param_at + i] * (1.0 - lr * decay);
  const float step = (first / hyper[p.hyper_at + 5u]) /
                     (sqrt(second / hyper[p.hyper_at + 6u]) + eps);
  param[p.param_at + i] = decayed - lr * step;
  grad[p.grad_at + i] = 0.0;
}
