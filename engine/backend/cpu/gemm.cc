#include "engine/backend/cpu/gemm.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/backend/cpu/thread_pool.h"
#include <oneapi/dnnl/dnnl.hpp>

namespace choir::engine {
namespace {

using dnnl::memory;

memory::desc MatrixDesc(int64_t rows, int64_t cols, int64_t stride, bool transposed,
                        memory::data_type type) {
  const memory::dims strides = transposed ? memory::dims{1, stride} : memory::dims{stride, 1};
  return {memory::dims{rows, cols}, type, strides};
}

std::string ShapeText(const GemmShape& s) {
  return fmt::format("{}x{}x{} {}", s.m, s.n, s.k, s.type == GemmType::kF32 ? "f32" : "bf16");
}

}  // namespace

struct GemmLibrary::Shared {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::atomic<bool> failed{false};
  std::vector<uint8_t*> scratch;  // by worker
  size_t scratch_bytes = 0;       // of one worker: the largest that any primitive wants
};

class GemmLibrary::DnnlGemm final : public Gemm {
 public:
  // Throws dnnl::error.
  DnnlGemm(Shared& shared, const GemmShape& shape, int num_workers) : shared_(shared) {
    const auto type =
        shape.type == GemmType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
    const auto a = MatrixDesc(shape.m, shape.k, shape.lda, shape.transpose_a, type);
    const auto b = MatrixDesc(shape.k, shape.n, shape.ldb, shape.transpose_b, type);
    const auto c = MatrixDesc(shape.m, shape.n, shape.ldc, false, memory::data_type::f32);
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (shape.accumulate) {
      dnnl::post_ops post_ops;
      post_ops.append_sum(1.0F);
      attr.set_post_ops(post_ops);
    }
    KeepLibrariesOnThisThread();
    const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(a, b, c), attr, shared.engine);
    primitive_ = dnnl::matmul(desc);
    const auto scratch = desc.scratchpad_desc();
    shared.scratch_bytes = std::max(shared.scratch_bytes, scratch.get_size());
    for (int worker = 0; worker < num_workers; ++worker) {
      Arguments& args = arguments_.emplace_back();
      args.memories = {memory(a, shared.engine, nullptr), memory(b, shared.engine, nullptr),
                       memory(c, shared.engine, nullptr), memory(scratch, shared.engine, nullptr)};
      constexpr int kIndex[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
      for (size_t i = 0; i < 4; ++i) args.list[i] = {kIndex[i], args.memories[i].get()};
    }
  }

  void Run(int worker, const void* a, const void* b, float* c) const override {
    const Arguments& args = arguments_[static_cast<size_t>(worker)];
    // oneDNN's handles are not const; it does not write to A and B.
    void* const handles[] = {const_cast<void*>(a), const_cast<void*>(b), c,
                             shared_.scratch[static_cast<size_t>(worker)]};
    dnnl_status_t status = dnnl_success;
    for (size_t i = 0; i < 4; ++i) {
      status = std::max(status, dnnl_memory_set_data_handle(args.list[i].memory, handles[i]));
    }
    if (status == dnnl_success) {
      status = dnnl_primitive_execute(primitive_.get(), shared_.stream.get(), 4, args.list.data());
    }
    if (status != dnnl_success) shared_.failed.store(true);
  }

 private:
  // A worker's own handles: their pointers change with each call.
  struct Arguments {
    std::array<memory, 4> memories;
    std::array<dnnl_exec_arg_t, 4> list;
  };

  Shared& shared_;
  dnnl::matmul primitive_;
  std::vector<Arguments> arguments_;
};

GemmLibrary::GemmLibrary(int num_workers)
    : num_workers_(num_workers), shared_(std::make_unique<Shared>()) {}
GemmLibrary::~GemmLibrary() = default;

absl::StatusOr<const Gemm*> GemmLibrary::Get(const GemmShape& shape) {
  CHOIR_CHECK(shape.m > 0 && shape.n > 0 && shape.k > 0);
  auto& gemm = gemms_[shape];
  if (gemm == nullptr) {
    try {
      gemm = std::make_unique<DnnlGemm>(*shared_, shape, num_workers_);
    } catch (const dnnl::error& error) {
      return absl::InternalError(
          fmt::format("oneDNN cannot make the product {}: {}", ShapeText(shape), error.what()));
    }
  }
  return gemm.get();
}

absl::Status GemmLibrary::AllocateScratch() {
  const uint64_t each = RoundUpToLine(shared_->scratch_bytes);
  CHOIR_ASSIGN_OR_RETURN(scratch_,
                         AlignedBytes::Allocate(each * static_cast<uint64_t>(num_workers_)));
  shared_->scratch.clear();
  for (int worker = 0; worker < num_workers_; ++worker) {
    shared_->scratch.push_back(each == 0 ? nullptr
                                         : scratch_.data() + each * static_cast<uint64_t>(worker));
  }
  return absl::OkStatus();
}

uint64_t GemmLibrary::scratch_bytes() const {
  return RoundUpToLine(shared_->scratch_bytes) * static_cast<uint64_t>(num_workers_);
}

absl::Status GemmLibrary::TakeError() {
  if (!shared_->failed.exchange(false)) return absl::OkStatus();
  return absl::InternalError("oneDNN failed to run a matrix product");
}

absl::StatusOr<BlockedGemm> BlockedGemm::Create(GemmLibrary& library, const GemmShape& shape,
                                                int64_t block_m, int64_t block_n) {
  BlockedGemm result;
  result.shape_ = shape;
  result.block_m_ = std::min(block_m, shape.m);
  result.block_n_ = std::min(block_n, shape.n);
  result.blocks_m_ = (shape.m + result.block_m_ - 1) / result.block_m_;
  result.blocks_n_ = (shape.n + result.block_n_ - 1) / result.block_n_;
  for (const bool last_m : {false, true}) {
    for (const bool last_n : {false, true}) {
      if ((!last_m && result.blocks_m_ == 1) || (!last_n && result.blocks_n_ == 1)) continue;
      GemmShape block = shape;
      block.m = last_m ? shape.m - (result.blocks_m_ - 1) * result.block_m_ : result.block_m_;
      block.n = last_n ? shape.n - (result.blocks_n_ - 1) * result.block_n_ : result.block_n_;
      CHOIR_ASSIGN_OR_RETURN(result.gemms_[last_m][last_n], library.Get(block));
    }
  }
  return result;
}

void BlockedGemm::RunBlock(int64_t block, int worker, const void* a, const void* b,
                           float* c) const {
  const int64_t row = block / blocks_n_ * block_m_;
  const int64_t col = block % blocks_n_ * block_n_;
  RunBlockTo(block, worker, a, b, c + row * shape_.ldc + col);
}

void BlockedGemm::RunBlockTo(int64_t block, int worker, const void* a, const void* b,
                             float* c_block) const {
  const int64_t block_row = block / blocks_n_;
  const int64_t block_col = block % blocks_n_;
  const int64_t row = block_row * block_m_;
  const int64_t col = block_col * block_n_;
  const int64_t bytes = ElementBytes(shape_.type);
  const auto* a_bytes = static_cast<const uint8_t*>(a);
  const auto* b_bytes = static_cast<const uint8_t*>(b);
  a_bytes += bytes * (shape_.transpose_a ? row : row * shape_.lda);
  b_bytes += bytes * (shape_.transpose_b ? col * shape_.ldb : col);
  const Gemm* gemm = gemms_[block_row + 1 == blocks_m_][block_col + 1 == blocks_n_];
  gemm->Run(worker, a_bytes, b_bytes, c_block);
}

bool CpuHasFastBf16() {
  const auto isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

std::string CpuInstructionSet() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_amx:
      return "avx512 amx";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "avx512 bf16";
    case dnnl::cpu_isa::avx512_core_vnni:
    case dnnl::cpu_isa::avx512_core:
      return "avx512";
    case dnnl::cpu_isa::avx2_vnni:
    case dnnl::cpu_isa::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace choir::engine
