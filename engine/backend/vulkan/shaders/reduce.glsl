// Sums and maxima over a workgroup of kThreads (a power of two, defined before the include).
// Every invocation must call, and gets the result. With SUBGROUPS: within subgroups first, where the
// numbers need no shared memory; the extension must be enabled before the include.
shared float reduce_partial[kThreads];

#ifdef SUBGROUPS

// Numbers of the subgroups, each by its first invocation; all read them after a barrier.
void ShareOfSubgroup(float value) {
  barrier();  // an earlier result may still be read
  if (subgroupElect()) reduce_partial[gl_SubgroupID] = value;
  barrier();
}

float WorkgroupSum(float value) {
  ShareOfSubgroup(subgroupAdd(value));
  float sum = reduce_partial[0];
  for (uint i = 1u; i < gl_NumSubgroups; ++i) sum += reduce_partial[i];
  return sum;
}

float WorkgroupMax(float value) {
  ShareOfSubgroup(subgroupMax(value));
  float largest = reduce_partial[0];
  for (uint i = 1u; i < gl_NumSubgroups; ++i) largest = max(largest, reduce_partial[i]);
  return largest;
}

#else

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

#endif
