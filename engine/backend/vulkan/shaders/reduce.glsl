// Sums and maxima over a workgroup of kThreads (a power of two, defined before the include).
// Every invocation must call, and gets the result.
shared float reduce_partial[kThreads];

float WorkgroupSum(float value) {
  const uint lane = gl_LocalInvocationIndex;
  barrier();  // an earlier result may still be read
  reduce_partial[lane] = value;
  for (uint width = kThreads / 2u; width > 0u; width /= 2u) {
    barrier();
    if (lane < width) reduce_partial[lane] += reduce_partial[lane + width];
  }
  barrier();
  return reduce_partial[0];
}

float WorkgroupMax(float value) {
  const uint lane = gl_LocalInvocationIndex;
  barrier();
  reduce_partial[lane] = value;
  for (uint width = kThreads / 2u; width > 0u; width /= 2u) {
    barrier();
    if (lane < width) reduce_partial[lane] = max(reduce_partial[lane], reduce_partial[lane + width]);
  }
  barrier();
  return reduce_partial[0];
}
