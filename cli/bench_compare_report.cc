#include "cli/bench_compare_report.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "cli/humane.h"

namespace choir::cli {
namespace {

// What a run reaches of what the machine can do at best, by its fastest step; 0 if not known.
double ShareOfBest(const ComparedPart& part, const ComparedRun& run, const BenchHead& head) {
  const double work = part.by_bandwidth ? run.work.weight_bytes : run.work.flops;
  const double best = part.by_bandwidth ? head.read_gb_per_s : head.GemmPeakGflops();
  return best > 0 ? work / run.times.Fastest() * 1e-9 / best : 0;
}

// Of reading memory in the same round, at the median; 0 if that was not measured.
double ShareOfReading(const ComparedPart& part, const ComparedRun& run) {
  return bench::MedianShare(run.times, run.work.weight_bytes, part.reading, part.reading_bytes);
}

std::string Percent(double share) {
  return share > 0 ? fmt::format("{:.0f} %", 100 * share) : "";
}

// The slowest one's speedup over the first divided by the fastest one's.
double SlowestToFastest(const ComparedPart& part) {
  double least = 1;
  double most = 1;
  for (const ComparedRun& run : part.runs) {
    const double speedup = bench::MedianSpeedup(run.times, part.runs.front().times);
    least = std::min(least, speedup);
    most = std::max(most, speedup);
  }
  return least / most;
}

std::string DescribeRates(const ComparedPart& part, const BenchHead& head) {
  const std::string& first = part.runs.front().format;
  const bool has_reading = part.reading.count() > 0;
  std::vector<std::string> headings = {"weights",
                                       "size",
                                       "tokens/s: median",
                                       "mean",
                                       "slowest",
                                       "fastest",
                                       part.by_bandwidth ? "GB/s" : "GFLOP/s",
                                       "of the best"};
  if (has_reading) headings.emplace_back("of reading in turn");
  headings.push_back("to " + first);
  TextTable table(std::move(headings));
  for (const ComparedRun& run : part.runs) {
    const auto rate = [&](double seconds) { return HumaneRate(run.tokens_per_step / seconds); };
    const double fastest = run.times.Fastest();
    std::vector<std::string> cells = {
        run.Label(),
        HumaneBytes(run.weight_bytes),
        rate(run.times.Median()),
        rate(run.times.Mean()),
        rate(run.times.Slowest()),
        rate(fastest),
        part.by_bandwidth ? fmt::format("{:.1f}", run.work.weight_bytes / fastest * 1e-9)
                          : fmt::format("{:.0f}", run.work.flops / fastest * 1e-9),
        Percent(ShareOfBest(part, run, head))};
    if (has_reading) cells.push_back(Percent(ShareOfReading(part, run)));
    cells.push_back(
        fmt::format("{:.2f}", bench::MedianSpeedup(run.times, part.runs.front().times)));
    table.AddRow(std::move(cells));
  }
  return table.Render() + "\n";
}

// Milliseconds of each op, one column a run, in the first run's order.
std::string DescribeOpsSideBySide(const ComparedPart& part) {
  std::vector<std::string> headings = {"op, ms"};
  std::vector<std::map<std::string, double>> by_op;
  for (const ComparedRun& run : part.runs) {
    headings.push_back(run.Label());
    std::map<std::string, double>& seconds = by_op.emplace_back();
    for (const bench::OpProfile& op : run.ops) seconds[op.op] = op.seconds;
  }
  TextTable table(std::move(headings));
  for (const bench::OpProfile& op : part.runs.front().ops) {
    std::vector<std::string> cells = {op.op};
    for (auto& seconds : by_op) cells.push_back(fmt::format("{:.2f}", seconds[op.op] * 1e3));
    table.AddRow(std::move(cells));
  }
  return table.Render() + "\n";
}

std::string DescribePart(const ComparedPart& part, const BenchHead& head) {
  const std::string label = part.name == "train" ? "training" : part.name;
  std::string text = fmt::format("\n{}: {} of each in turn, {}\n", label,
                                 part.runs.front().times.count(), part.heading);
  text += DescribeRates(part, head);
  text += fmt::format("slowest to fastest {:.2f}\n", SlowestToFastest(part));
  if (part.reading.count() > 0) {
    const auto rate = [&](double seconds) { return part.reading_bytes / seconds * 1e-9; };
    text += fmt::format("reading memory in turn with them: median {:.1f} GB/s, {:.1f} to {:.1f}\n",
                        rate(part.reading.Median()), rate(part.reading.Slowest()),
                        rate(part.reading.Fastest()));
  }
  if (head.profile) text += DescribeOpsSideBySide(part);
  return text;
}

nlohmann::json RunToJson(const ComparedPart& part, const ComparedRun& run, const BenchHead& head) {
  const auto rate = [&](double seconds) { return run.tokens_per_step / seconds; };
  const bench::Times& times = run.times;
  nlohmann::json json = {
      {"format", run.format},
      {"lora", run.adapter},
      {"weight_bytes", run.weight_bytes},
      {"tokens_per_second",
       {{"fastest", rate(times.Fastest())},
        {"median", rate(times.Median())},
        {"mean", rate(times.Mean())},
        {"slowest", rate(times.Slowest())}}},
      {"gflops", run.work.flops / times.Fastest() * 1e-9},
      {"weight_gb_per_s", run.work.weight_bytes / times.Fastest() * 1e-9},
      {"ratio_to_first", bench::MedianSpeedup(times, part.runs.front().times)},
      {"step_seconds", std::vector<double>(times.seconds().begin(), times.seconds().end())}};
  const double share = ShareOfBest(part, run, head);
  if (share > 0) json[part.by_bandwidth ? "share_of_bandwidth" : "share_of_peak"] = share;
  const double of_reading = ShareOfReading(part, run);
  if (of_reading > 0) json["share_of_reading_in_turn"] = of_reading;
  if (head.profile) json["ops"] = OpsToJson(run.ops);
  return json;
}

}  // namespace

std::string DescribeComparison(const Comparison& comparison) {
  const BenchHead& head = comparison.head;
  std::string text =
      fmt::format("shape      {}, {} tokens at once; LoRA of rank {} on {}\n", head.shape,
                  HumaneCount(head.context_tokens), comparison.rank, comparison.modules);
  text += DescribeMachine(head);
  if (!head.gemm_peaks_gflops.empty()) {
    const auto [least, most] =
        std::minmax_element(head.gemm_peaks_gflops.begin(), head.gemm_peaks_gflops.end());
    text += fmt::format(
        "at best    {:.0f} GFLOP/s in products of these sizes (the best of {} measurements from "
        "{:.0f} on),\n           {:.1f} GB/s read\n",
        *most, head.gemm_peaks_gflops.size(), *least, head.read_gb_per_s);
  }
  text += "memory     shown where one format runs alone\n";
  for (const ComparedPart& part : comparison.parts) text += DescribePart(part, head);
  text.pop_back();
  return text;
}

nlohmann::json ComparisonToJson(const Comparison& comparison) {
  nlohmann::json json = HeadToJson(comparison.head);
  if (!comparison.head.gemm_peaks_gflops.empty()) {
    json["gemm_peaks_gflops"] = comparison.head.gemm_peaks_gflops;
  }
  json["rank"] = comparison.rank;
  json["modules"] = comparison.modules;
  for (const ComparedPart& part : comparison.parts) {
    nlohmann::json runs = nlohmann::json::array();
    for (const ComparedRun& run : part.runs) {
      runs.push_back(RunToJson(part, run, comparison.head));
    }
    json[part.name] = {{"rounds", part.runs.front().times.count()},
                       {"slowest_to_fastest", SlowestToFastest(part)},
                       {"in_turn", std::move(runs)}};
  }
  return json;
}

}  // namespace choir::cli
