// a.b of four signed bytes each: OpSDot of SPV_KHR_integer_dot_product, which glslang 11 has no
// function for. 6018 and 6019 are the capabilities DotProductInput4x8BitPacked and DotProduct, 0 the
// packed format.
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int PackedDotOf(int a, int b, spirv_literal int format);
int PackedDot(uint a, uint b) { return PackedDotOf(int(a), int(b), 0); }
