// The graphs of every architecture against stored results of an independent implementation in
// float64, on the ops' references and on every real backend of this machine.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/status_macros.h"
#include "engine/backend/reference_backend.h"
#include "engine/backend/registry.h"
#include "engine/graph/autodiff.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/model/device_model.h"
#include "engine/model/inference_graph.h"
#include "engine/model/optimizer_graph.h"
#include "engine/model/train_graph.h"
#include "tests/support/test_data.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

testing::AssertionResult IsOk(const char* expression, const absl::Status& status) {
  if (status.ok()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << expression << ": " << status.ToString();
}

// A status, or the status of a value, that must be OK for the test to go on.
#define ASSERT_OK(expr) ASSERT_PRED_FORMAT1(IsOk, expr)
#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ASSERT_OK_AND_ASSIGN_IMPL(CHOIR_CONCAT_(status_or_, __LINE__), lhs, expr)
#define ASSERT_OK_AND_ASSIGN_IMPL(temporary, lhs, expr) \
  auto temporary = (expr);                              \
  ASSERT_OK(temporary.status());                        \
  lhs = *std::move(temporary)

nlohmann::json ReadJson(const std::string& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

std::vector<float> ReadFloats(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  return floats;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    // NaN counts as infinitely far.
    largest = difference <= largest ? largest : (difference > largest ? difference : INFINITY);
  }
  return largest;
}

std::vector<int32_t> Counting(size_t count) {
  std::vector<int32_t> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<int32_t>(i);
  return values;
}

template <typename T>
void Write(Executable& executable, TensorId input, const std::vector<T>& values) {
  const absl::Status status = executable.WriteInput(input, BytesOf(std::span(values)));
  ASSERT_TRUE(status.ok()) << status.ToString();
}

std::vector<float> ReadF32(const Graph& graph, Executable& executable, TensorId output) {
  std::vector<float> values(static_cast<size_t>(graph.tensor(output).desc.shape.NumElements()));
  const absl::Status status = executable.ReadOutput(output, MutableBytesOf(std::span(values)));
  EXPECT_TRUE(status.ok()) << status.ToString();
  return values;
}

// Feeds ids[i], predicts ids[i+1] with weights[i]; one segment; the mean over the weights.
void WriteLossInputs(Executable& executable, const LossInputs& inputs,
                     const std::vector<int32_t>& ids, const std::vector<float>& weights) {
  const size_t tokens = ids.size() - 1;
  float sum = 0;
  for (const float weight : weights) sum += weight;
  Write(executable, inputs.ids, std::vector<int32_t>(ids.begin(), ids.end() - 1));
  Write(executable, inputs.targets, std::vector<int32_t>(ids.begin() + 1, ids.end()));
  Write(executable, inputs.positions, Counting(tokens));
  Write(executable, inputs.segments, std::vector<int32_t>(tokens));
  Write(executable, inputs.loss_weights, weights);
  Write(executable, inputs.loss_scale, std::vector<float>{1 / sum});
}

double WeightedMean(const std::vector<float>& nll, const std::vector<float>& weights) {
  double sum = 0;
  double total = 0;
  for (size_t i = 0; i < nll.size(); ++i) {
    sum += static_cast<double>(nll[i]) * static_cast<double>(weights[i]);
    total += static_cast<double>(weights[i]);
  }
  return sum / total;
}

// A backend and how near it must come. The references are float64 throughout; what remains is
// rounding of f32 outputs and state (reference), and of f32 arithmetic (real backends).
struct BackendCase {
  std::string name;
  double logits = 0;    // absolute, logits are of size 20
  double gradient = 0;  // share of the largest gradient element of a factor
  double loss = 0;      // absolute
};

void PrintTo(const BackendCase& backend, std::ostream* out) {
  *out << backend.name;
}

class ModelReferenceTest : public testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override {
    if (GetParam().name == "reference") {
      backend_ = CreateReferenceBackend();
      return;
    }
    auto created = CreateBackend(GetParam().name, {});
    if (!created.ok()) GTEST_SKIP() << created.status().ToString();
    backend_ = *std::move(created);
  }

  absl::StatusOr<std::unique_ptr<Executable>> Compile(const Graph& graph, const DeviceModel& model,
                                                      const DeviceAdapter* adapter,
                                                      const KvCache* cache = nullptr) {
    Bindings bindings;
    model.Bind(graph, bindings);
    if (adapter != nullptr) adapter->Bind(graph, bindings);
    if (cache != nullptr) cache->Bind(graph, bindings);
    return backend_->Compile(graph, bindings, {.compute = Compute::kF32});
  }

  // Logits of all of `ids`.
  void RunLogits(const Model& model, const Adapter* adapter, const std::vector<int32_t>& ids,
                 std::vector<float>& logits) {
    ASSERT_OK_AND_ASSIGN(const DeviceModel weights, DeviceModel::Load(*backend_, model));
    std::optional<AdapterLayout> layout;
    std::optional<DeviceAdapter> device_adapter;
    if (adapter != nullptr) {
      layout = LayoutOf(*adapter);
      ASSERT_OK_AND_ASSIGN(device_adapter, DeviceAdapter::Create(*backend_, *layout, false));
      ASSERT_OK(device_adapter->Write(AdapterPart::kParameters, Flatten(*adapter)));
    }
    ASSERT_OK_AND_ASSIGN(const LogitsGraph built,
                         BuildLogitsGraph(model, layout.has_value() ? &*layout : nullptr,
                                          static_cast<int64_t>(ids.size())));
    ASSERT_OK_AND_ASSIGN(
        const auto executable,
        Compile(built.graph, weights, device_adapter.has_value() ? &*device_adapter : nullptr));
    Write(*executable, built.ids, ids);
    Write(*executable, built.positions, Counting(ids.size()));
    Write(*executable, built.segments, std::vector<int32_t>(ids.size()));
    ASSERT_OK(executable->Run());
    logits = ReadF32(built.graph, *executable, built.logits);
  }

  // One micro-step: the loss and the flat gradient.
  void RunTraining(const Model& model, const Adapter& adapter, const std::vector<int32_t>& ids,
                   const std::vector<float>& weights, TrainGraphOptions options, double& loss,
                   std::vector<float>& gradient) {
    options.tokens = static_cast<int64_t>(ids.size()) - 1;
    ASSERT_OK_AND_ASSIGN(const DeviceModel device_model, DeviceModel::Load(*backend_, model));
    ASSERT_OK_AND_ASSIGN(DeviceAdapter device,
                         DeviceAdapter::Create(*backend_, LayoutOf(adapter), true));
    ASSERT_OK(device.Write(AdapterPart::kParameters, Flatten(adapter)));
    ASSERT_OK_AND_ASSIGN(const TrainGraph built, BuildTrainGraph(model, device.layout(), options));
    ASSERT_OK_AND_ASSIGN(const auto executable, Compile(built.graph, device_model, &device));
    WriteLossInputs(*executable, built.inputs, ids, weights);
    ASSERT_OK(executable->Run());
    loss = WeightedMean(ReadF32(built.graph, *executable, built.nll), weights);
    ASSERT_OK_AND_ASSIGN(gradient, device.Read(AdapterPart::kGradients));
  }

  // Feeds `ids` to a cache in pieces of 4, then one by one, and compares with RunLogits.
  void ExpectCachedLogitsMatch(const Model& model, Adapter adapter,
                               const std::vector<int32_t>& ids) {
    constexpr int64_t kRows = 24;
    // B starts at zero: give it values, so that the adapter counts.
    for (LoraPair& pair : adapter.pairs) std::fill(pair.b.begin(), pair.b.end(), 0.01f);
    RunLogits(model, &adapter, ids, cached_want_);
    ASSERT_OK_AND_ASSIGN(const DeviceModel weights, DeviceModel::Load(*backend_, model));
    ASSERT_OK_AND_ASSIGN(DeviceAdapter device,
                         DeviceAdapter::Create(*backend_, LayoutOf(adapter), false));
    ASSERT_OK(device.Write(AdapterPart::kParameters, Flatten(adapter)));
    ASSERT_OK_AND_ASSIGN(const KvCache cache, KvCache::Create(*backend_, model.spec(), kRows));
    ASSERT_OK_AND_ASSIGN(const CachedGraph prompt,
                         BuildCachedGraph(model, &device.layout(), 4, kRows));
    ASSERT_OK_AND_ASSIGN(const CachedGraph decode,
                         BuildCachedGraph(model, &device.layout(), 1, kRows));
    ASSERT_OK_AND_ASSIGN(const auto prompt_step, Compile(prompt.graph, weights, &device, &cache));
    ASSERT_OK_AND_ASSIGN(const auto decode_step, Compile(decode.graph, weights, &device, &cache));
    FeedCache(prompt, *prompt_step, ids, 0, 4);
    FeedCache(prompt, *prompt_step, ids, 4, 4);
    FeedCache(prompt, *prompt_step, ids, 8, 3);  // a row of padding, overwritten by the next token
    for (size_t start = 11; start < ids.size(); ++start) {
      FeedCache(decode, *decode_step, ids, start, 1);
    }
  }

  void FeedCache(const CachedGraph& built, Executable& executable, const std::vector<int32_t>& all,
                 size_t start, size_t count) {
    const auto width = static_cast<size_t>(built.graph.tensor(built.ids).desc.shape.cols);
    std::vector<int32_t> ids(width);
    std::vector<int32_t> positions(width);
    for (size_t i = 0; i < width; ++i) {
      positions[i] = static_cast<int32_t>(start + i);
      if (i < count) ids[i] = all[start + i];
    }
    Write(executable, built.ids, ids);
    Write(executable, built.positions, positions);
    Write(executable, built.start, std::vector<int32_t>{static_cast<int32_t>(start)});
    Write(executable, built.last_row, std::vector<int32_t>{static_cast<int32_t>(count) - 1});
    ASSERT_OK(executable.Run());
    const std::vector<float> got = ReadF32(built.graph, executable, built.logits);
    const auto row =
        cached_want_.begin() + static_cast<std::ptrdiff_t>((start + count - 1) * got.size());
    const std::vector<float> want(row, row + static_cast<std::ptrdiff_t>(got.size()));
    EXPECT_LE(LargestDifference(got, want), GetParam().logits) << "after " << start + count;
  }

  std::unique_ptr<Backend> backend_;
  std::vector<float> cached_want_;
};

INSTANTIATE_TEST_SUITE_P(Backends, ModelReferenceTest,
                         testing::Values(BackendCase{"reference", 1e-5, 1e-6, 1e-6},
                                         BackendCase{"cpu", 1e-3, 1e-3, 1e-3},
                                         BackendCase{"vulkan", 1e-3, 1e-3, 1e-3}),
                         [](const auto& test) { return test.param.name; });

TEST_P(ModelReferenceTest, Logits) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  size_t num_prompts = 0;
  double largest = 0;
  for (const nlohmann::json& entry : ReadJson(data + "/reference/logits.json")) {
    const auto path = entry.at("model").get<std::string>();
    SCOPED_TRACE(path);
    ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(data + "/" + path));
    for (const nlohmann::json& prompt : entry.at("prompts")) {
      std::vector<float> got;
      RunLogits(model, nullptr, prompt.at("ids").get<std::vector<int32_t>>(), got);
      const auto want =
          ReadFloats(data + "/reference/" + prompt.at("logits_f32").get<std::string>());
      EXPECT_LE(LargestDifference(got, want), GetParam().logits);
      largest = std::max(largest, LargestDifference(got, want));
      ++num_prompts;
    }
  }
  EXPECT_EQ(num_prompts, 42u);
  RecordProperty("largest_difference", fmt::format("{:.3g}", largest));
}

TEST_P(ModelReferenceTest, MeanNllOfText) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const nlohmann::json entry = ReadJson(data + "/reference/logits.json").at(0);
  const auto ids = entry.at("nll_text").at("ids").get<std::vector<int32_t>>();
  ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(data + "/models/stories260K-f32.gguf"));
  ASSERT_OK_AND_ASSIGN(const DeviceModel weights, DeviceModel::Load(*backend_, model));
  ASSERT_OK_AND_ASSIGN(const EvalGraph eval,
                       BuildEvalGraph(model, nullptr, static_cast<int64_t>(ids.size()) - 1));
  ASSERT_OK_AND_ASSIGN(const auto executable, Compile(eval.graph, weights, nullptr));
  const std::vector<float> ones(ids.size() - 1, 1.0f);
  WriteLossInputs(*executable, eval.inputs, ids, ones);
  ASSERT_OK(executable->Run());
  EXPECT_NEAR(WeightedMean(ReadF32(eval.graph, *executable, eval.nll), ones),
              entry.at("nll_text").at("mean_nll").get<double>(), GetParam().loss);
}

// A stored adapter over one of the models: its logits, loss and gradients.
struct AdapterCase {
  std::string model_path;
  std::string dir;
  nlohmann::json entry;
  std::vector<int32_t> ids;
};

// The stored gradients, which bear their factors' names and no metadata, flat.
std::vector<float> ReadGradients(const AdapterLayout& layout, const std::string& path) {
  std::vector<float> flat(static_cast<size_t>(layout.num_elements));
  const absl::StatusOr<GgufFile> file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status().ToString();
  if (!file.ok()) return flat;
  const auto copy = [&](const std::string& name, int64_t offset, int64_t count) {
    const GgufTensor* tensor = file->FindTensor(name);
    const auto size = static_cast<size_t>(count) * sizeof(float);
    ASSERT_TRUE(tensor != nullptr && tensor->bytes.size() == size) << name;
    std::memcpy(flat.data() + offset, tensor->bytes.data(), size);
  };
  for (const AdapterSlot& slot : layout.slots) {
    copy(slot.a_name(), slot.a_offset, slot.rank * slot.cols);
    copy(slot.b_name(), slot.b_offset, slot.rows * slot.rank);
  }
  return flat;
}

std::vector<AdapterCase> AdapterCases(const std::string& data) {
  std::vector<AdapterCase> cases;
  for (const nlohmann::json& entry : ReadJson(data + "/reference/lora.json")) {
    cases.push_back({.model_path = data + "/" + entry.at("model").get<std::string>(),
                     .dir = data + "/reference/" + entry.at("dir").get<std::string>(),
                     .entry = entry,
                     .ids = entry.at("ids").get<std::vector<int32_t>>()});
  }
  return cases;
}

AdapterCase StoriesAdapter(const std::string& data) {
  return AdapterCases(data).at(0);
}

TEST_P(ModelReferenceTest, AdapterLogits) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  for (const AdapterCase& stored : AdapterCases(data)) {
    SCOPED_TRACE(stored.model_path);
    ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(stored.model_path));
    ASSERT_OK_AND_ASSIGN(const Adapter adapter, ReadGgufAdapter(stored.dir + "/adapter.gguf"));
    std::vector<float> got;
    RunLogits(model, &adapter, stored.ids, got);
    EXPECT_LE(LargestDifference(got, ReadFloats(stored.dir + "/logits.f32")), GetParam().logits);
  }
}

// Largest difference over all factors, each as a share of the factor's largest magnitude.
double GradientDifference(const AdapterLayout& layout, const std::vector<float>& got,
                          const std::vector<float>& want) {
  double worst = 0;
  const auto compare = [&](int64_t offset, int64_t count) {
    const auto slice = [&](const std::vector<float>& flat) {
      return std::vector<float>(flat.begin() + offset, flat.begin() + offset + count);
    };
    const std::vector<float> zeros(static_cast<size_t>(count));
    worst = std::max(
        worst, LargestDifference(slice(got), slice(want)) / LargestDifference(slice(want), zeros));
  };
  for (const AdapterSlot& slot : layout.slots) {
    compare(slot.a_offset, slot.rank * slot.cols);
    compare(slot.b_offset, slot.rows * slot.rank);
  }
  return worst;
}

TEST_P(ModelReferenceTest, AdapterGradients) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  double largest = 0;
  for (const AdapterCase& stored : AdapterCases(data)) {
    SCOPED_TRACE(stored.model_path);
    ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(stored.model_path));
    ASSERT_OK_AND_ASSIGN(const Adapter adapter, ReadGgufAdapter(stored.dir + "/adapter.gguf"));
    const std::vector<float> want = ReadGradients(LayoutOf(adapter), stored.dir + "/grads.gguf");
    const std::vector<float> ones(stored.ids.size() - 1, 1.0f);
    for (const KeptActivations kept : {KeptActivations::kAll, KeptActivations::kProducts}) {
      for (const int64_t recomputed : {int64_t{0}, int64_t{1}, kAllBlocks}) {
        double loss = 0;
        std::vector<float> got;
        RunTraining(model, adapter, stored.ids, ones,
                    {.recomputed_blocks = recomputed, .kept = kept}, loss, got);
        EXPECT_NEAR(loss, stored.entry.at("loss").get<double>(), GetParam().loss);
        const double difference = GradientDifference(LayoutOf(adapter), got, want);
        EXPECT_LE(difference, GetParam().gradient) << recomputed << " blocks recomputed";
        largest = std::max(largest, difference);
      }
    }
  }
  RecordProperty("largest_difference", fmt::format("{:.3g}", largest));
}

// Rounding to 8 bits moves a value by up to 1/254 of the largest of its block, to bf16 by 2^-9 of
// itself; where the scores of attention are large, these are what is left of the probabilities'
// digits. The whole gradient is within 1 % (engine/infer/precision_test.cc); this is the worst
// element of the worst factor.
constexpr double kPackedGradient = 0.06;

TEST_P(ModelReferenceTest, PackedActivationsKeepTheLossAndRoundTheGradient) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  double largest = 0;
  for (const AdapterCase& stored : AdapterCases(data)) {
    SCOPED_TRACE(stored.model_path);
    ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(stored.model_path));
    ASSERT_OK_AND_ASSIGN(const Adapter adapter, ReadGgufAdapter(stored.dir + "/adapter.gguf"));
    const std::vector<float> want = ReadGradients(LayoutOf(adapter), stored.dir + "/grads.gguf");
    const std::vector<float> ones(stored.ids.size() - 1, 1.0f);
    std::vector<float> first;
    for (const int64_t recomputed : {int64_t{0}, int64_t{1}, kAllBlocks}) {
      double loss = 0;
      std::vector<float> got;
      RunTraining(model, adapter, stored.ids, ones,
                  {.recomputed_blocks = recomputed, .kept = KeptActivations::kPackedProducts}, loss,
                  got);
      EXPECT_NEAR(loss, stored.entry.at("loss").get<double>(), GetParam().loss);
      const double difference = GradientDifference(LayoutOf(adapter), got, want);
      EXPECT_LE(difference, kPackedGradient);
      largest = std::max(largest, difference);
      if (recomputed == 0) first = got;
      EXPECT_EQ(got, first) << recomputed << " blocks recomputed";
    }
  }
  RecordProperty("largest_difference", fmt::format("{:.3g}", largest));
}

TEST_P(ModelReferenceTest, MaskedLossAndGradient) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const AdapterCase stored = StoriesAdapter(data);
  ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(data + "/models/stories260K-f32.gguf"));
  ASSERT_OK_AND_ASSIGN(const Adapter adapter, ReadGgufAdapter(stored.dir + "/adapter.gguf"));
  const auto mask = stored.entry.at("masked_weights").get<std::vector<float>>();
  double loss = 0;
  std::vector<float> gradient;
  RunTraining(model, adapter, stored.ids, mask, {}, loss, gradient);
  EXPECT_NEAR(loss, stored.entry.at("loss_masked_first4").get<double>(), GetParam().loss);
  double squares = 0;
  for (const float g : gradient) squares += static_cast<double>(g) * static_cast<double>(g);
  const double norm = stored.entry.at("masked_grad_l2").get<double>();
  EXPECT_NEAR(std::sqrt(squares), norm, GetParam().gradient * norm);
}

TEST_P(ModelReferenceTest, OneFactorTrainedAloneHasTheSameGradient) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const AdapterCase stored = StoriesAdapter(data);
  ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(data + "/models/stories260K-f32.gguf"));
  ASSERT_OK_AND_ASSIGN(const Adapter adapter, ReadGgufAdapter(stored.dir + "/adapter.gguf"));
  const AdapterLayout layout = LayoutOf(adapter);
  const std::vector<float> stored_grads = ReadGradients(layout, stored.dir + "/grads.gguf");
  const std::vector<float> ones(stored.ids.size() - 1, 1.0f);
  for (const TrainedFactors factors : {TrainedFactors::kA, TrainedFactors::kB}) {
    // The stored gradient, where trained; zero elsewhere.
    std::vector<float> want(stored_grads.size());
    for (const FlatRange& range : layout.Trained(factors)) {
      std::copy_n(stored_grads.begin() + range.offset, range.count, want.begin() + range.offset);
    }
    double loss = 0;
    std::vector<float> got;
    RunTraining(model, adapter, stored.ids, ones,
                {.factors = factors, .recomputed_blocks = kAllBlocks}, loss, got);
    double largest = 0;
    for (const float value : want)
      largest = std::max(largest, std::abs(static_cast<double>(value)));
    EXPECT_LE(LargestDifference(got, want), GetParam().gradient * largest);
    for (size_t i = 0; i < want.size(); ++i) {
      if (want[i] != 0) continue;
      ASSERT_EQ(got[i], 0) << "a frozen factor has a gradient";
    }
  }
}

// Twenty AdamW steps over windows of 64 tokens, as stored.
TEST_P(ModelReferenceTest, OptimizerTrajectory) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const AdapterCase stored = StoriesAdapter(data);
  const nlohmann::json& trajectory = stored.entry.at("trajectory");
  const auto tokens = trajectory.at("tokens").get<std::vector<int32_t>>();
  ASSERT_OK_AND_ASSIGN(const Model model, Model::Open(data + "/models/stories260K-f32.gguf"));
  ASSERT_OK_AND_ASSIGN(const Adapter init, ReadGgufAdapter(stored.dir + "/train_init.gguf"));
  ASSERT_OK_AND_ASSIGN(const Adapter final_adapter,
                       ReadGgufAdapter(stored.dir + "/train_final.gguf"));
  ASSERT_OK_AND_ASSIGN(const DeviceModel weights, DeviceModel::Load(*backend_, model));
  ASSERT_OK_AND_ASSIGN(DeviceAdapter device,
                       DeviceAdapter::Create(*backend_, LayoutOf(init), true));
  ASSERT_OK(device.Write(AdapterPart::kParameters, Flatten(init)));
  ASSERT_OK_AND_ASSIGN(const TrainGraph train,
                       BuildTrainGraph(model, device.layout(), {.tokens = 64}));
  ASSERT_OK_AND_ASSIGN(const AdamWGraph adamw,
                       BuildAdamWGraph(device.layout(), TrainedFactors::kBoth));
  ASSERT_OK_AND_ASSIGN(const auto train_step, Compile(train.graph, weights, &device));
  ASSERT_OK_AND_ASSIGN(const auto adamw_step, Compile(adamw.graph, weights, &device));
  const std::vector<float> ones(64, 1.0f);
  const auto losses = trajectory.at("losses").get<std::vector<double>>();
  double largest = 0;
  for (size_t step = 0; step < losses.size(); ++step) {
    std::vector<int32_t> ids = {1};
    ids.insert(ids.end(), tokens.begin() + static_cast<std::ptrdiff_t>(step) * 64,
               tokens.begin() + static_cast<std::ptrdiff_t>(step + 1) * 64);
    WriteLossInputs(*train_step, train.inputs, ids, ones);
    ASSERT_OK(train_step->Run());
    const double loss = WeightedMean(ReadF32(train.graph, *train_step, train.nll), ones);
    // f32 state, and 1 - 0.999f is 1e-5 away from 0.001: small steps apart from the stored path.
    EXPECT_NEAR(loss, losses[step], std::max(GetParam().loss, 1e-5)) << "step " << step;
    largest = std::max(largest, std::abs(loss - losses[step]));
    const auto t = static_cast<double>(step + 1);
    Write(*adamw_step, adamw.hyper,
          std::vector<float>{1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f,
                             static_cast<float>(1 - std::pow(0.9, t)),
                             static_cast<float>(1 - std::pow(0.999, t)), 1});
    ASSERT_OK(adamw_step->Run());
  }
  ASSERT_OK_AND_ASSIGN(const std::vector<float> parameters, device.Read(AdapterPart::kParameters));
  RecordProperty("largest_loss_difference", fmt::format("{:.3g}", largest));
  // AdamW's first steps have size lr whatever the gradient's, so a gradient near zero may turn a
  // rounding difference into a step the other way: f32 state allows a part of lr.
  EXPECT_LE(LargestDifference(parameters, Flatten(final_adapter)), 1e-3);
}

TEST_P(ModelReferenceTest, SquaredNorm) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const AdapterCase stored = StoriesAdapter(data);
  ASSERT_OK_AND_ASSIGN(const Adapter adapter, ReadGgufAdapter(stored.dir + "/adapter.gguf"));
  const std::vector<float> flat = Flatten(adapter);
  ASSERT_OK_AND_ASSIGN(DeviceAdapter device,
                       DeviceAdapter::Create(*backend_, LayoutOf(adapter), true));
  ASSERT_OK(device.Write(AdapterPart::kGradients, flat));
  for (const TrainedFactors factors : {TrainedFactors::kBoth, TrainedFactors::kB}) {
    double want = 0;
    for (const float g : FlattenFactors(adapter, factors)) {
      want += static_cast<double>(g) * static_cast<double>(g);
    }
    ASSERT_OK_AND_ASSIGN(const Graph graph, BuildGradNormGraph(device.layout(), factors));
    Bindings bindings;
    device.Bind(graph, bindings);
    ASSERT_OK_AND_ASSIGN(const auto executable, backend_->Compile(graph, bindings, {}));
    ASSERT_OK(device.ZeroSquaredNorm());
    ASSERT_OK(executable->Run());
    ASSERT_OK_AND_ASSIGN(const float got, device.ReadSquaredNorm());
    EXPECT_NEAR(static_cast<double>(got), want, 1e-5 * want);
  }
}

// A prompt in padded pieces, then token by token, gives the logits that all tokens at once give;
// 17 tokens leave gemma3's window of 8.
TEST_P(ModelReferenceTest, CachedLogitsMatch) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  for (const char* name :
       {"stories260K-f32", "bitllama3M-f16", "tiny/tiny-qwen3-f16", "tiny/tiny-gemma3-q8_0"}) {
    SCOPED_TRACE(name);
    ASSERT_OK_AND_ASSIGN(const Model model,
                         Model::Open(fmt::format("{}/models/{}.gguf", data, name)));
    ASSERT_OK_AND_ASSIGN(const Adapter adapter, InitAdapter({.rank = 2}, model.LoraTargets(),
                                                            model.spec().architecture, 3));
    ExpectCachedLogitsMatch(model, adapter, AdapterCases(data).at(0).ids);
  }
}

}  // namespace
}  // namespace choir::engine
