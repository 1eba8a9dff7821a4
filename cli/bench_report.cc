#include "cli/bench_report.h"

#include <fmt/format.h>

#include "cli/humane.h"
#include "cli/recompute_option.h"

namespace choir::cli {
namespace {

std::string DescribeHead(const BenchHead& head) {
  std::string text =
      fmt::format("shape      {}, {} weights ({}), {} tokens at once\n", head.shape, head.format,
                  HumaneBytes(head.weight_bytes), HumaneCount(head.context_tokens));
  text += DescribeMachine(head);
  if (head.GemmPeakGflops() > 0) {
    text += fmt::format("at best    {:.0f} GFLOP/s in products of these sizes, {:.1f} GB/s read\n",
                        head.GemmPeakGflops(), head.read_gb_per_s);
  }
  return text;
}

std::string DescribeOps(const std::vector<bench::OpProfile>& ops) {
  double total = 0;
  for (const bench::OpProfile& op : ops) total += op.seconds;
  TextTable table({"op", "calls", "ms", "share", "GFLOP/s", "GB/s"});
  for (const bench::OpProfile& op : ops) {
    const double rate = op.seconds > 0 ? 1e-9 / op.seconds : 0;
    table.AddRow({op.op, std::to_string(op.calls), fmt::format("{:.2f}", op.seconds * 1e3),
                  fmt::format("{:.1f} %", 100 * op.seconds / total),
                  op.work.flops > 0 ? fmt::format("{:.0f}", op.work.flops * rate) : "",
                  fmt::format("{:.1f}", op.work.bytes * rate)});
  }
  return table.Render() + "\n";
}

std::string DescribeSavings(const BenchTraining& train) {
  std::string text = DescribeKept(train.kept, train.recomputed_blocks, train.blocks);
  if (!text.empty()) text += "; ";
  if (train.streams) text += "streams weights; ";
  return text;
}

std::string BesidePrediction(uint64_t bytes, uint64_t predicted) {
  const double ratio = static_cast<double>(predicted) / static_cast<double>(bytes);
  return fmt::format("{} at most, {} predicted ({:+.1f} %)", HumaneBytes(bytes),
                     HumaneBytes(predicted), 100 * (ratio - 1));
}

std::string DescribeTrainingMemory(const BenchTraining& train) {
  const bench::TrainMeasurement& m = train.measured;
  const bool own_memory = train.predicted_host_bytes > 0;
  std::string text =
      "memory     " +
      BesidePrediction(own_memory ? train.device_bytes : m.peak_resident_bytes,
                       train.predicted_bytes) +
      fmt::format("; activations {}, workspace {}\n", HumaneBytes(m.memory.arena_bytes),
                  HumaneBytes(m.memory.workspace_bytes));
  if (own_memory) {
    text += "           of the device; of this computer's " +
            BesidePrediction(m.peak_resident_bytes, train.predicted_host_bytes) + "\n";
  }
  return text;
}

std::string DescribeTraining(const BenchTraining& train, const BenchHead& head) {
  const bench::TrainMeasurement& m = train.measured;
  std::string text = fmt::format(
      "training   {} tokens/s (mean {}); step {:.1f} ms, {:.1f} GFLOP, {:.0f} GFLOP/s{}\n",
      HumaneRate(m.TokensPerSecond()), HumaneRate(m.MeanTokensPerSecond()), m.steps.Fastest() * 1e3,
      m.work.flops * 1e-9, m.Gflops(), ShareOf(m.Gflops(), head.GemmPeakGflops(), "the best"));
  text += fmt::format(
      "           rank {} on {}, {} x {} tokens, {:.1f} % of them real{}; {}moves {}\n", train.rank,
      train.modules, train.batch, head.context_tokens, 100 * m.useful_share,
      m.epoch_share < 1 ? fmt::format(" ({:.1f} % in an epoch)", 100 * m.epoch_share) : "",
      DescribeSavings(train), HumaneBytes(static_cast<uint64_t>(m.work.bytes)));
  text += DescribeTrainingMemory(train);
  text += fmt::format("loss       {:.4f} -> {:.4f}\n", m.first_loss, m.last_loss);
  if (head.profile) text += DescribeOps(m.ops);
  return text;
}

std::string DescribePrompt(const bench::InferMeasurement& m, const BenchHead& head) {
  std::string text = fmt::format(
      "prompt     {} tokens/s (mean {}), {} at once; {:.0f} GFLOP/s{}\n",
      HumaneRate(m.TokensPerSecond()), HumaneRate(m.MeanTokensPerSecond()), HumaneCount(m.batch),
      m.Gflops(), ShareOf(m.Gflops(), head.GemmPeakGflops(), "the best"));
  if (head.profile) text += DescribeOps(m.ops);
  return text;
}

std::string DescribeGeneration(const bench::InferMeasurement& m, const BenchHead& head) {
  std::string text = fmt::format(
      "generation {} tokens/s (mean {}); {} of weights a token, {:.1f} GB/s{}\n",
      HumaneRate(m.TokensPerSecond()), HumaneRate(m.MeanTokensPerSecond()),
      HumaneBytes(static_cast<uint64_t>(m.WeightBytesPerToken())), m.GigabytesPerSecond(),
      ShareOf(m.GigabytesPerSecond(), head.read_gb_per_s, "the best"));
  if (head.profile) text += DescribeOps(m.ops);
  return text;
}

void AddShare(nlohmann::json& json, const char* name, double part, double whole) {
  if (whole > 0) json[name] = part / whole;
}

nlohmann::json TrainingToJson(const BenchTraining& train, const BenchHead& head) {
  const bench::TrainMeasurement& m = train.measured;
  nlohmann::json json = {{"tokens_per_second", m.TokensPerSecond()},
                         {"mean_tokens_per_second", m.MeanTokensPerSecond()},
                         {"steps", m.steps.count()},
                         {"fastest_step_seconds", m.steps.Fastest()},
                         {"mean_step_seconds", m.steps.Mean()},
                         {"batch", train.batch},
                         {"rank", train.rank},
                         {"modules", train.modules},
                         {"kept_activations", NameOf(train.kept)},
                         {"recomputed_blocks", train.recomputed_blocks},
                         {"stream_weights", train.streams},
                         {"useful_share", m.useful_share},
                         {"epoch_useful_share", m.epoch_share},
                         {"gflops", m.Gflops()},
                         {"flops_per_step", m.work.flops},
                         {"bytes_per_step", m.work.bytes},
                         {"peak_resident_bytes", m.peak_resident_bytes},
                         {"predicted_bytes", train.predicted_bytes},
                         {"arena_bytes", m.memory.arena_bytes},
                         {"workspace_bytes", m.memory.workspace_bytes},
                         {"first_loss", m.first_loss},
                         {"last_loss", m.last_loss}};
  if (train.predicted_host_bytes > 0) {
    json["device_bytes"] = train.device_bytes;
    json["predicted_host_bytes"] = train.predicted_host_bytes;
  }
  AddShare(json, "share_of_peak", m.Gflops(), head.GemmPeakGflops());
  if (head.profile) json["ops"] = OpsToJson(m.ops);
  return json;
}

nlohmann::json InferToJson(const bench::InferMeasurement& m, const BenchHead& head) {
  nlohmann::json json = {{"tokens_per_second", m.TokensPerSecond()},
                         {"mean_tokens_per_second", m.MeanTokensPerSecond()},
                         {"gflops", m.Gflops()},
                         {"batch_tokens", m.batch},
                         {"weight_bytes_per_token", m.WeightBytesPerToken()},
                         {"weight_gb_per_s", m.GigabytesPerSecond()},
                         {"peak_resident_bytes", m.peak_resident_bytes}};
  AddShare(json, "share_of_peak", m.Gflops(), head.GemmPeakGflops());
  AddShare(json, "share_of_bandwidth", m.GigabytesPerSecond(), head.read_gb_per_s);
  if (head.profile) json["ops"] = OpsToJson(m.ops);
  return json;
}

}  // namespace

std::string Percent(double part, double whole) {
  return fmt::format("{:.0f} %", 100 * part / whole);
}

std::string ShareOf(double part, double whole, const char* of) {
  return whole > 0 ? fmt::format(" ({} of {})", Percent(part, whole), of) : "";
}

std::string DescribeMachine(const BenchHead& head) {
  std::string text = fmt::format("machine    {} ({})", head.device.name, head.device.driver);
  if (head.threads > 0) {
    text += fmt::format(", {} threads, {} products", head.threads, head.bf16 ? "bf16" : "f32");
  }
  text += "\n";
  const std::vector<std::string>& ways = head.device.ways;
  for (size_t i = 0; i < ways.size(); ++i) {
    text += fmt::format("{:<10} {}\n", i == 0 ? "products" : "", ways[i]);
  }
  return text;
}

nlohmann::json OpsToJson(const std::vector<bench::OpProfile>& ops) {
  nlohmann::json list = nlohmann::json::array();
  for (const bench::OpProfile& op : ops) {
    list.push_back({{"op", op.op},
                    {"calls", op.calls},
                    {"seconds", op.seconds},
                    {"flops", op.work.flops},
                    {"bytes", op.work.bytes}});
  }
  return list;
}

nlohmann::json HeadToJson(const BenchHead& head) {
  nlohmann::json json = {{"shape", head.shape},
                         {"context_tokens", head.context_tokens},
                         {"backend", head.device.backend},
                         {"device", head.device.name},
                         {"features", head.device.features},
                         {"ways", head.device.ways}};
  if (head.threads > 0) {
    json["threads"] = head.threads;
    json["compute"] = head.bf16 ? "bf16" : "f32";
    json["gemm_peak_gflops"] = head.GemmPeakGflops();
    json["read_gb_per_s"] = head.read_gb_per_s;
  }
  return json;
}

std::string DescribeBench(const BenchReport& report) {
  std::string text = DescribeHead(report.head);
  if (report.train) text += DescribeTraining(*report.train, report.head);
  if (report.prompt) text += DescribePrompt(*report.prompt, report.head);
  if (report.generate) text += DescribeGeneration(*report.generate, report.head);
  text.pop_back();
  return text;
}

nlohmann::json BenchToJson(const BenchReport& report) {
  const BenchHead& head = report.head;
  nlohmann::json json = HeadToJson(head);
  json["format"] = head.format;
  json["weight_bytes"] = head.weight_bytes;
  if (report.train) json["train"] = TrainingToJson(*report.train, head);
  if (report.prompt) json["prompt"] = InferToJson(*report.prompt, head);
  if (report.generate) json["generate"] = InferToJson(*report.generate, head);
  return json;
}

}  // namespace choir::cli
