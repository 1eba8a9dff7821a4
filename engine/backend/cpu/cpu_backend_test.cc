#include "engine/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/backend/conformance.h"
#include "engine/backend/cpu/dequantize.h"
#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/graph/graph.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

std::unique_ptr<Backend> MakeBackend(int num_threads) {
  auto backend = CreateCpuBackend(num_threads);
  EXPECT_TRUE(backend.ok()) << backend.status().ToString();
  return *std::move(backend);
}

TEST(CpuConformanceTest, EveryOpInF32WithOneThread) {
  RunOpConformance(*MakeBackend(1), {});
}

TEST(CpuConformanceTest, EveryOpInF32WithTwoThreads) {
  RunOpConformance(*MakeBackend(2), {});
}

TEST(CpuConformanceTest, EveryOpInBf16) {
  if (!CpuHasFastBf16()) GTEST_SKIP() << "this CPU has no bf16 products";
  // Both factors of a product are rounded to 8 bits: 2^-9 each, and the softmax of lm_head_loss
  // once more.
  RunOpConformance(*MakeBackend(2), {.compile = {.compute = Compute::kBf16}, .tolerance = 2e-2});
}

// Deterministic values in [-1, 1).
std::vector<float> Values(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 8388608.0F - 1.0F;
  }
  return values;
}

TEST(DequantizeTest, VectorsGiveTheBitsOfTheFormatsOwnFunction) {
  for (const WeightFormat* const format : AllWeightFormats()) {
    if (format->quantize_row == nullptr) continue;
    // Odd counts of vectors, and single elements where blocks allow them.
    const size_t count = format->block_elements * 37;
    std::vector<float> values = Values(count, 11);
    values[0] = 0;
    values[1 % count] = 6e-8F;  // a subnormal f16
    values[2 % count] = -65504;
    std::vector<uint8_t> blocks(format->RowBytes(count));
    format->quantize_row(values, blocks);
    std::vector<float> want(count), got(count);
    format->dequantize_row(blocks, want);
    RowDequantizerOf (*format)(blocks, got);
    EXPECT_EQ(std::memcmp(got.data(), want.data(), count * sizeof(float)), 0) << format->name;
    const RowRounder round = RowRounderOf(*format);
    if (round == nullptr) continue;
    std::vector<uint16_t> want_bf16(count), got_bf16(count);
    ConvertToBf16(want.data(), want_bf16.data(), count);
    round(blocks, got_bf16);
    EXPECT_EQ(got_bf16, want_bf16) << format->name;
  }
}

TEST(PackTest, VectorsGiveTheBitsOfTheFormatsOwnFunction) {
  constexpr int64_t kRows = 5;
  constexpr int64_t kCols = 96;
  std::vector<float> x = Values(kRows * kCols, 17);
  std::fill_n(x.begin(), 32, 0.0F);  // a block without a scale
  x[32] = 127;                       // a scale of 1: what lies half way goes away from zero
  for (size_t i = 1; i < 32; ++i) x[32 + i] = static_cast<float>(i) - 15.5F;
  x[33] = 0.49999997F;
  x[70] = 1e-30F;
  for (const WeightFormat* const format : {&kBF16Format, &kQ8_0Format}) {
    Graph graph;
    const TensorId input = graph.AddInput("x", F32(kRows, kCols));
    const Attrs attrs = {{"format", static_cast<double>(format->type_id)}};
    const TensorId packed = graph.AddNode("pack", {input}, attrs)->front();
    graph.MarkOutput(packed);
    const auto executable = MakeBackend(2)->Compile(graph, {}, {});
    ASSERT_TRUE(executable.ok()) << executable.status();
    ASSERT_TRUE((*executable)->WriteInput(input, BytesOf(std::span<const float>(x))).ok());
    ASSERT_TRUE((*executable)->Run().ok());
    std::vector<uint8_t> want(format->RowBytes(x.size()));
    std::vector<uint8_t> got(want.size());
    ASSERT_TRUE((*executable)->ReadOutput(packed, got).ok());
    format->quantize_row(x, want);
    EXPECT_EQ(got, want) << format->name;
  }
}

// y = x W^T of the first `tokens` rows of one x.
std::vector<float> RunLinear(const WeightFormat& format, int64_t tokens, int num_threads) {
  constexpr int64_t kRows = 301;
  const auto cols = static_cast<int64_t>(format.block_elements * (512 / format.block_elements));
  const auto w = Values(static_cast<size_t>(kRows * cols), 1);
  std::vector<uint8_t> blocks(format.RowBytes(w.size()));
  format.quantize_row(w, blocks);
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(tokens, cols));
  const TensorId weight = graph.AddPersistent("w", Weight(&format, kRows, cols));
  const TensorId y = (*graph.AddNode("linear", {x, weight}, {{"lora", 0}}))[0];
  graph.MarkOutput(y);
  const auto backend = MakeBackend(num_threads);
  const auto executable = backend->Compile(graph, {{weight, {*backend->WrapWeights(blocks)}}}, {});
  EXPECT_TRUE(executable.ok()) << executable.status().ToString();
  const auto values = Values(static_cast<size_t>(tokens * cols), 2);
  EXPECT_TRUE((*executable)->WriteInput(x, BytesOf(std::span<const float>(values))).ok());
  EXPECT_TRUE((*executable)->Run().ok());
  std::vector<float> out(static_cast<size_t>(tokens * kRows));
  EXPECT_TRUE((*executable)->ReadOutput(y, MutableBytesOf(std::span<float>(out))).ok());
  return out;
}

TEST(CpuBackendTest, ATokenIsTheSameAmongFewAndOnAnyThreads) {
  for (const WeightFormat* const format : AllWeightFormats()) {
    if (format->quantize_row == nullptr) continue;
    const std::vector<float> one = RunLinear(*format, 1, 1);
    for (const int64_t tokens : {1, 2, 3, 4}) {
      for (const int num_threads : {1, 2, 5}) {
        std::vector<float> first = RunLinear(*format, tokens, num_threads);
        first.resize(one.size());
        EXPECT_EQ(first, one) << format->name << ", " << tokens << " tokens, " << num_threads
                              << " threads";
      }
    }
  }
}

// Attention and a quantised linear layer with LoRA, forward and loss: every kind of product.
struct Program {
  static constexpr int64_t kTokens = 150;
  static constexpr int64_t kChannels = 128;
  static constexpr int64_t kVocabulary = 700;

  Graph graph;
  TensorId x, segment, targets, weights, scale;
  TensorId w, a, b, head;
  TensorId nll, dh;
};

Program MakeProgram() {
  using P = Program;
  P p;
  p.x = p.graph.AddInput("x", F32(P::kTokens, P::kChannels));
  p.segment = p.graph.AddInput("segment", I32(1, P::kTokens));
  p.targets = p.graph.AddInput("targets", I32(1, P::kTokens));
  p.weights = p.graph.AddInput("weights", F32(1, P::kTokens));
  p.scale = p.graph.AddInput("scale", F32(1, 1));
  p.w = p.graph.AddPersistent("w", Weight(&kQ8_0Format, P::kChannels, P::kChannels));
  p.a = p.graph.AddPersistent("a", F32(4, P::kChannels));
  p.b = p.graph.AddPersistent("b", F32(P::kChannels, 4));
  p.head = p.graph.AddPersistent("head", Weight(&kF32Format, P::kVocabulary, P::kChannels));
  const auto q = *p.graph.AddNode("linear", {p.x, p.w, p.a, p.b}, {{"lora", 1}, {"lora_scale", 2}});
  const auto o =
      *p.graph.AddNode("attention", {q[0], p.x, p.x, p.segment},
                       {{"head_size", 32}, {"scale", 0.2}, {"window", 0}, {"softcap", 0}});
  const auto loss = *p.graph.AddNode("lm_head_loss", {o[0], p.head, p.targets, p.weights, p.scale},
                                     {{"with_grad", 1}, {"softcap", 0}});
  p.nll = loss[0];
  p.dh = loss[1];
  p.graph.MarkOutput(p.nll);
  p.graph.MarkOutput(p.dh);
  return p;
}

// Holds what an executable of MakeProgram() works on.
class ProgramRun {
 public:
  ProgramRun(int num_threads, Compute compute) : backend_(MakeBackend(num_threads)) {
    using P = Program;
    const auto w = Values(P::kChannels * P::kChannels, 1);
    w_.resize(kQ8_0Format.RowBytes(w.size()));
    kQ8_0Format.quantize_row(w, w_);
    head_ = Values(P::kVocabulary * P::kChannels, 2);
    const std::map<TensorId, Binding> bindings = {
        {program_.w, {*backend_->WrapWeights(w_)}},
        {program_.head, {*backend_->WrapWeights(BytesOf(std::span<const float>(head_)))}},
        {program_.a, {Filled(4 * P::kChannels, 3)}},
        {program_.b, {Filled(4 * P::kChannels, 4)}}};
    auto executable = backend_->Compile(program_.graph, bindings, {compute});
    EXPECT_TRUE(executable.ok()) << executable.status().ToString();
    executable_ = *std::move(executable);
  }

  std::vector<float> Run() {
    using P = Program;
    std::vector<int32_t> segment(P::kTokens), targets(P::kTokens);
    std::vector<float> weights(P::kTokens, 1.0F);
    for (size_t t = 0; t < targets.size(); ++t) {
      segment[t] = t < 70 ? 0 : 1;
      targets[t] = static_cast<int32_t>(t * 37 % P::kVocabulary);
      if (t % 5 == 0) weights[t] = 0;
    }
    Write<float>(program_.x, Values(P::kTokens * P::kChannels, 5));
    Write<int32_t>(program_.segment, segment);
    Write<int32_t>(program_.targets, targets);
    Write<float>(program_.weights, weights);
    Write<float>(program_.scale, std::vector<float>{1.0F});
    EXPECT_TRUE(executable_->Run().ok());
    std::vector<float> dh(P::kTokens * P::kChannels);
    EXPECT_TRUE(executable_->ReadOutput(program_.dh, MutableBytesOf(std::span<float>(dh))).ok());
    return dh;
  }

  Executable& executable() { return *executable_; }
  const Program& program() const { return program_; }

 private:
  std::shared_ptr<DeviceBuffer> Filled(size_t count, uint32_t seed) {
    const std::vector<float> values = Values(count, seed);
    auto buffer = *backend_->Allocate(count * sizeof(float));
    EXPECT_TRUE(backend_->Write(*buffer, 0, BytesOf(std::span<const float>(values))).ok());
    return buffer;
  }
  template <typename T>
  void Write(TensorId id, const std::vector<T>& values) {
    const auto status = executable_->WriteInput(id, BytesOf(std::span<const T>(values)));
    EXPECT_TRUE(status.ok()) << status.ToString();
  }

  Program program_ = MakeProgram();
  std::vector<uint8_t> w_;
  std::vector<float> head_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Executable> executable_;
};

TEST(CpuBackendTest, TwoRunsGiveTheSameBits) {
  ProgramRun program(2, Compute::kAuto);
  const std::vector<float> first = program.Run();
  EXPECT_EQ(first, program.Run());
  EXPECT_TRUE(std::any_of(first.begin(), first.end(), [](float v) { return v != 0; }));
}

TEST(CpuBackendTest, ResultsDoNotDependOnTheNumberOfThreads) {
  const std::vector<float> one = ProgramRun(1, Compute::kAuto).Run();
  EXPECT_EQ(one, ProgramRun(2, Compute::kAuto).Run());
  EXPECT_EQ(one, ProgramRun(5, Compute::kAuto).Run());
}

TEST(CpuBackendTest, MemoryUseIsKnownBeforeTheFirstRun) {
  ProgramRun program(2, Compute::kF32);
  const MemoryUse before = program.executable().memory_use();
  program.Run();
  EXPECT_EQ(before.arena_bytes, program.executable().memory_use().arena_bytes);
  EXPECT_EQ(before.workspace_bytes, program.executable().memory_use().workspace_bytes);
  EXPECT_GT(before.arena_bytes, 0u);
  EXPECT_GT(before.workspace_bytes, 0u);
}

TEST(CpuBackendTest, TargetOutsideTheVocabularyIsAnError) {
  ProgramRun program(1, Compute::kF32);
  program.Run();
  std::vector<int32_t> targets(Program::kTokens, Program::kVocabulary);
  ASSERT_TRUE(program.executable()
                  .WriteInput(program.program().targets, BytesOf(std::span<const int32_t>(targets)))
                  .ok());
  EXPECT_EQ(program.executable().Run().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CpuBackendTest, InputOfAnotherSizeIsRefused) {
  ProgramRun program(1, Compute::kF32);
  const std::vector<float> scales(2);
  EXPECT_EQ(program.executable()
                .WriteInput(program.program().scale, BytesOf(std::span<const float>(scales)))
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(program.executable().WriteInput(program.program().a, {}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CpuBackendTest, BindingOutsideItsBufferIsRefusedWithoutOverflow) {
  const auto backend = MakeBackend(1);
  Graph graph;
  const TensorId grad = graph.AddPersistent("grad", F32(1, 8));
  const TensorId sum = graph.AddPersistent("sum", F32(1, 1));
  ASSERT_TRUE(graph.AddNode("grad_norm", {grad}, {}, {sum}).ok());
  const auto buffer = *backend->Allocate(36);
  for (const uint64_t offset : {uint64_t{8}, UINT64_MAX - 3}) {
    const auto executable =
        backend->Compile(graph, {{grad, {buffer, offset}}, {sum, {buffer, 32}}}, {});
    EXPECT_EQ(executable.status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(backend->Compile(graph, {{grad, {buffer, 0}}, {sum, {buffer, 32}}}, {}).ok());
}

TEST(CpuBackendTest, WrappedWeightsCannotBeWritten) {
  const auto backend = MakeBackend(1);
  const std::array<uint8_t, 8> bytes{};
  const auto buffer = *backend->WrapWeights(bytes);
  EXPECT_EQ(backend->Write(*buffer, 0, bytes).code(), absl::StatusCode::kInvalidArgument);
  Graph graph;
  const TensorId state = graph.AddPersistent("state", F32(1, 1));
  ASSERT_TRUE(graph.AddNode("grad_norm", {state}, {}, {state}).ok());
  EXPECT_EQ(backend->Compile(graph, {{state, {buffer, 0}}}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CpuBackendTest, ReadAndWriteCheckTheirRange) {
  const auto backend = MakeBackend(1);
  const auto buffer = *backend->Allocate(8);
  std::array<uint8_t, 8> bytes = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_TRUE(backend->Write(*buffer, 0, bytes).ok());
  EXPECT_EQ(backend->Write(*buffer, 1, bytes).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend->Read(*buffer, UINT64_MAX, bytes).code(), absl::StatusCode::kInvalidArgument);
  std::array<uint8_t, 2> middle{};
  EXPECT_TRUE(backend->Read(*buffer, 3, middle).ok());
  EXPECT_THAT(middle, testing::ElementsAre(4, 5));
}

TEST(CpuBackendTest, ThreadCountOutOfRangeIsRefused) {
  EXPECT_EQ(CreateCpuBackend(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCpuBackend(1 << 20).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(CreateCpuBackend(0).ok());
}

}  // namespace
}  // namespace choir::engine
