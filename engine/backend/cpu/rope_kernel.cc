// rope: turns pairs of columns of each head by an angle that grows with the position.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/rope_kernel.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include <cstring>

#include "engine/backend/cpu/kernel_table.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

// One head; direction is 1, or -1 to turn back. Pairs (i, i + pairs).
void RotateHalves(const float* x, const float* cosines, const float* sines, float direction,
                  size_t pairs, float* y) {
  ForEachVector(pairs, [=](auto d, size_t i) HWY_ATTR {
    const auto a = hn::LoadU(d, x + i);
    const auto b = hn::LoadU(d, x + pairs + i);
    const auto cosine = hn::LoadU(d, cosines + i);
    const auto sine = hn::Mul(hn::Set(d, direction), hn::LoadU(d, sines + i));
    hn::StoreU(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), d, y + i);
    hn::StoreU(hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, y + pairs + i);
  });
}

// Pairs (2i, 2i + 1).
void RotateNeighbours(const float* x, const float* cosines, const float* sines, float direction,
                      size_t pairs, float* y) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= pairs; i += lanes) {
    auto a = hn::Zero(d);
    auto b = hn::Zero(d);
    hn::LoadInterleaved2(d, x + 2 * i, a, b);
    const auto cosine = hn::LoadU(d, cosines + i);
    const auto sine = hn::Mul(hn::Set(d, direction), hn::LoadU(d, sines + i));
    hn::StoreInterleaved2(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)),
                          hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, y + 2 * i);
  }
  for (; i < pairs; ++i) {
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    const float sine = direction * sines[i];
    y[2 * i] = a * cosines[i] - b * sine;
    y[2 * i + 1] = a * sine + b * cosines[i];
  }
}

void Rotate(bool halves, const float* x, const float* cosines, const float* sines, float direction,
            size_t pairs, float* y) {
  if (halves) {
    RotateHalves(x, cosines, sines, direction, pairs, y);
  } else {
    RotateNeighbours(x, cosines, sines, direction, pairs, y);
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(Rotate);

std::vector<float> Factors(const CpuCall& call, int64_t pairs) {
  if (call.inputs.size() < 3) return {};
  std::vector<float> factors(static_cast<size_t>(pairs));
  std::memcpy(factors.data(), call.inputs[2].data, factors.size() * sizeof(float));
  return factors;
}

absl::StatusOr<CpuProgram> PrepareRope(const CpuCall& call, CpuCompiler& compiler) {
  const CpuInput x = call.inputs[0];
  const CpuOutput y = call.outputs[0];
  const int64_t head_size = call.attrs.Int("head_size");
  const int64_t n_rot = call.attrs.Int("n_rot");
  const int64_t pairs = n_rot / 2;
  const bool halves = call.attrs.Int("halves") == 1;
  const float direction = call.attrs.Int("inverse") == 1 ? -1.0F : 1.0F;
  RopeTable* const table = compiler.rope_tables().Get(
      {.positions = call.inputs[1].i32(),
       .num_positions = x.rows(),
       .n_rot = n_rot,
       .base = call.attrs.Float("base"),
       .pos_scale = call.attrs.Float("pos_scale"),
       .factors_data = call.inputs.size() < 3 ? nullptr : call.inputs[2].data},
      Factors(call, pairs));
  return [=](CpuRun& run) {
    table->Update(run.run_number);
    run.ParallelRanges(x.rows(), 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t head = 0; head < x.cols(); head += head_size) {
          const int64_t at = t * x.cols() + head;
          HWY_DYNAMIC_DISPATCH(Rotate)
          (halves, x.f32() + at, table->cosines() + t * pairs, table->sines() + t * pairs,
           direction, static_cast<size_t>(pairs), y.f32() + at);
          std::memcpy(y.f32() + at + n_rot, x.f32() + at + n_rot,
                      static_cast<size_t>(head_size - n_rot) * sizeof(float));
        }
      }
    });
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kRopeCpuKernel = {PrepareRope};

}  // namespace choir::engine
#endif  // HWY_ONCE
