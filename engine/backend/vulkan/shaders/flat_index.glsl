// Position of this invocation in a flat list, in workgroups of 256 spread over x and y (one
// dimension alone holds 65535 groups).
uint FlatIndex() {
  return (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 256u +
         gl_LocalInvocationIndex;
}
