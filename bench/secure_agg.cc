#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/secure_agg_parts.h"
#include "bench/secure_agg_session.h"
#include "bench/secure_agg_timing.h"
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

// What secure aggregation costs: `secure_agg --help`.
namespace choir::bench {
namespace {

using Json = nlohmann::json;
using secagg::GraphKind;
using secagg::Prg;

struct Options {
  bool json = false;
  bool quick = false;
  size_t threads = 1;
  std::string prg = "chacha20";
  SessionPlan plan;
  std::string graph = "complete";
  double silent = 0;
  std::vector<uint32_t> nodes = {16, 64, 128, 256, 1000};
  std::vector<uint64_t> words = {100'000, 1'000'000, 10'000'000};
  std::vector<double> dropouts = {0, 0.1, 0.2};
  double budget_gb = 200;
  uint64_t measurements = 200'000;
};

Prg PrgOf(const Options& options) {
  return options.prg == "aes" ? Prg::kAes256Ctr : Prg::kChaCha20;
}

void Print(const Options& options, const Json& json, const std::string& text) {
  fmt::print("{}\n", options.json ? json.dump() : text);
  std::fflush(stdout);
}

int RunParts(const Options& options) {
  PartsShape shape;
  shape.threads = options.threads;
  if (options.quick) shape = {20'000, 5'000, 8, 1, options.threads};
  std::vector<PartFigure> figures;
  for (const Prg prg : {Prg::kChaCha20, Prg::kAes256Ctr}) {
    for (PartFigure& figure : MeasureMasking(shape, prg)) figures.push_back(std::move(figure));
  }
  for (PartFigure& figure : MeasureIngest(shape)) figures.push_back(std::move(figure));
  for (const PartFigure& figure : figures) {
    Print(
        options,
        {{"part", figure.name}, {"gb_per_s", figure.gigabytes_per_second}, {"share", figure.share}},
        fmt::format("{:<52} {:>8.2f} GB/s{}", figure.name, figure.gigabytes_per_second,
                    figure.share > 0 ? fmt::format("  {:>4.0f} %", 100 * figure.share) : ""));
  }
  const double expansion = UploadExpansionPercent(1'000'000, 100);
  Print(options, {{"part", "upload expansion"}, {"percent", expansion}},
        fmt::format("upload of 1 M words in a cohort of 100: {:.2f} % above the bare vector",
                    expansion));
  return 0;
}

Json ToJson(const SessionPlan& plan, const SessionFigures& f) {
  return {{"nodes", plan.nodes},
          {"words", plan.words},
          {"graph", plan.graph == GraphKind::kRegular ? "regular" : "complete"},
          {"silent", plan.silent},
          {"cohort", f.cohort},
          {"degree", f.degree},
          {"threshold", f.threshold},
          {"contributors", f.contributors},
          {"complete", f.complete},
          {"exact", f.exact},
          {"aborted", f.aborted},
          {"client_setup_ms", f.client_setup_ms},
          {"client_mask_ms", f.client_mask_ms},
          {"server_ingest_ms", f.server_ingest_ms},
          {"server_other_ms", f.server_other_ms},
          {"server_unmask_ms", f.server_unmask_ms},
          {"stream_share", f.stream_share},
          {"bytes_up", f.bytes_up},
          {"bytes_down", f.bytes_down},
          {"total_s", f.total_seconds},
          {"peak_mib", f.peak_mib}};
}

std::string Row(const SessionPlan& plan, const SessionFigures& f) {
  if (!f.complete) {
    return fmt::format("{:>5} {:>9} {:<8} {:>4.0f} %  {}", plan.nodes, plan.words,
                       plan.graph == GraphKind::kRegular ? "regular" : "complete",
                       100 * plan.silent[2], f.aborted);
  }
  return fmt::format(
      "{:>5} {:>9} {:<8} {:>4.0f} % {:>4}/{:<4} {:>9.1f} {:>9.1f} {:>4.0f} % {:>8.2f} {:>9.1f} "
      "{:>9.1f} "
      "{:>8.2f} {:>8.2f} {:>7.0f} {:>7.1f}  {}",
      plan.nodes, plan.words, plan.graph == GraphKind::kRegular ? "regular" : "complete",
      100 * plan.silent[2], f.degree, f.threshold, f.client_setup_ms, f.client_mask_ms,
      100 * f.stream_share, f.server_ingest_ms, f.server_unmask_ms, f.server_other_ms,
      f.bytes_up / 1e6, f.bytes_down / 1e6, f.peak_mib, f.total_seconds,
      !plan.check_sum ? ""
      : f.exact       ? "exact"
                      : "WRONG SUM");
}

constexpr char kHeader[] =
    "                                      node's, ms                   coordinator's, ms          "
    "   a "
    "node's MB       MiB\n"
    "nodes     words graph    dropped    k/t     setup      mask stream    input    unmask     "
    "other       "
    "up     down    peak seconds";

// False if the session failed, or its sum is not the plain one.
bool RunOne(const Options& options, const SessionPlan& plan) {
  const absl::StatusOr<SessionFigures> figures = RunSession(plan);
  if (!figures.ok()) {
    fmt::print(stderr, "secure_agg: {}\n", figures.status().ToString());
    return false;
  }
  Print(options, ToJson(plan, *figures), Row(plan, *figures));
  return figures->complete && (figures->exact || !plan.check_sum);
}

int RunSimulate(Options options) {
  SessionPlan& plan = options.plan;
  if (options.quick) plan.nodes = 24, plan.words = 2'000;
  plan.graph = options.graph == "regular" ? GraphKind::kRegular : GraphKind::kComplete;
  plan.prg = PrgOf(options);
  plan.threads = options.threads;
  plan.silent.fill(options.silent);
  if (!options.json) fmt::print("{}\n", kHeader);
  return RunOne(options, plan) ? 0 : 1;
}

// Key stream that all parties of a cell need together, roughly.
double GigabytesOf(const SessionPlan& plan) {
  const double degree =
      plan.graph == GraphKind::kRegular ? std::min(plan.nodes - 1, 150u) : plan.nodes - 1;
  return degree * plan.nodes * static_cast<double>(plan.words) * 4 * (1 + plan.silent[2]) / 1e9;
}

int RunGrid(Options options) {
  if (options.quick) options.nodes = {8, 24}, options.words = {2'000}, options.dropouts = {0, 0.1};
  if (!options.json) fmt::print("{}\n", kHeader);
  bool good = true;
  for (const GraphKind graph : {GraphKind::kComplete, GraphKind::kRegular}) {
    for (const uint32_t nodes : options.nodes) {
      if (graph == GraphKind::kComplete && nodes > secagg::kMaxCompleteGraph) continue;
      for (const uint64_t words : options.words) {
        for (const double dropout : options.dropouts) {
          SessionPlan plan{nodes, words, graph, PrgOf(options)};
          plan.threads = options.threads;
          plan.silent[2] = dropout;
          plan.check_sum = options.quick;
          if (GigabytesOf(plan) > options.budget_gb) continue;
          good = RunOne(options, plan) && good;
        }
      }
    }
  }
  return good ? 0 : 1;
}

int RunTiming(const Options& options) {
  for (const TimingFigure& figure : MeasureTiming(options.quick ? 2'000 : options.measurements)) {
    Print(options,
          {{"operation", figure.name}, {"t", figure.t}, {"measurements", figure.measurements}},
          fmt::format("{:<66} t = {:>8.2f}  ({} measurements)", figure.name, figure.t,
                      figure.measurements));
  }
  return 0;
}

}  // namespace
}  // namespace choir::bench

int main(int argc, char** argv) {
  choir::bench::Options options;
  CLI::App app(
      "Measures secure aggregation: `parts` against the bare key stream and memory, a `grid` of "
      "whole "
      "sessions, one session (`simulate`), and whether secrets show in times (`timing`).\n"
      "  secure_agg parts\n"
      "  secure_agg grid --nodes 64,128 --words 1000000 --dropouts 0,0.1 --threads 2\n"
      "  secure_agg simulate --nodes 1000 --words 1000000 --silent 0.1 --graph regular "
      "--dropout-percent 35 --prg aes --threads 2");
  app.add_flag("--json", options.json, "One JSON object a line");
  app.add_flag("--quick", options.quick,
               "Small sizes, to see that it runs; without a command: all of it");
  app.add_option("--threads", options.threads, "Threads of the work")->check(CLI::Range(1, 256));
  app.add_option("--prg", options.prg, "Mask generator")->check(CLI::IsMember({"chacha20", "aes"}));
  app.fallthrough();
  CLI::App* parts = app.add_subcommand("parts", "Masking, adding, unmasking; upload expansion");
  CLI::App* grid = app.add_subcommand("grid", "Whole sessions over sizes, drop-outs and graphs");
  grid->add_option("--nodes", options.nodes, "Cohort sizes")->delimiter(',');
  grid->add_option("--words", options.words, "Vector lengths")->delimiter(',');
  grid->add_option("--dropouts", options.dropouts, "Shares of nodes silent before their input")
      ->delimiter(',');
  grid->add_option("--budget-gb", options.budget_gb,
                   "Leave out what needs more key stream than this");
  CLI::App* simulate = app.add_subcommand("simulate", "One session, its sum checked bit for bit");
  simulate->add_option("--nodes", options.plan.nodes, "Nodes")->check(CLI::Range(3, 1024));
  simulate->add_option("--words", options.plan.words, "Values of a node")
      ->check(CLI::Range(1, 100'000'000));
  simulate->add_option("--silent", options.silent, "Share that falls silent before each stage")
      ->check(CLI::Range(0.0, 0.9));
  simulate->add_option("--graph", options.graph)->check(CLI::IsMember({"complete", "regular"}));
  simulate->add_option("--corrupt-percent", options.plan.corrupt_percent);
  simulate->add_option("--dropout-percent", options.plan.dropout_percent);
  simulate->add_option("--seed", options.plan.seed);
  CLI::App* timing = app.add_subcommand("timing", "Statistic of the times of two kinds of secrets");
  timing->add_option("--measurements", options.measurements)->check(CLI::Range(1'000, 100'000'000));
  CLI11_PARSE(app, argc, argv);
  if (parts->parsed()) return choir::bench::RunParts(options);
  if (grid->parsed()) return choir::bench::RunGrid(options);
  if (simulate->parsed()) return choir::bench::RunSimulate(options);
  if (timing->parsed()) return choir::bench::RunTiming(options);
  if (!options.quick) {
    fmt::print("{}", app.help());
    return 2;
  }
  return choir::bench::RunParts(options) + choir::bench::RunGrid(options) +
         choir::bench::RunSimulate(options) + choir::bench::RunTiming(options);
}
