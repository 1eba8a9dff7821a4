#ifndef CHOIR_ENGINE_BACKEND_CPU_VECTOR_MATH_H_
#define CHOIR_ENGINE_BACKEND_CPU_VECTOR_MATH_H_

// Small pieces of vector arithmetic that several kernels share, for the best instruction set of
// this CPU. `n` counts elements; arrays may be unaligned.

#include <cstddef>
#include <cstdint>

namespace choir::engine {

float DotProduct(const float* a, const float* b, size_t n);
float SumOfSquares(const float* x, size_t n);
// out = a + b; out may be a or b.
void AddVectors(const float* a, const float* b, float* out, size_t n);
// out = factor * x; out may be x.
void ScaleVector(const float* x, float factor, float* out, size_t n);
// out = a * x + b * y; out may be x or y.
void CombineVectors(float a, const float* x, float b, const float* y, float* out, size_t n);
// bfloat16 bits, rounded to nearest even.
void ConvertToBf16(const float* x, uint16_t* out, size_t n);
// IEEE halves, rounded to nearest even; too large a number becomes infinite.
void ConvertToF16(const float* x, uint16_t* out, size_t n);
// Rounded to bfloat16, as f32; out may be x.
void RoundToBf16(const float* x, float* out, size_t n);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_VECTOR_MATH_H_
