#include "bench/op_work.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace choir::bench {
namespace {

using engine::Graph;
using engine::Node;
using engine::TensorId;

double BytesOfAll(const Graph& graph, const std::vector<TensorId>& ids) {
  double bytes = 0;
  for (const TensorId id : ids) bytes += static_cast<double>(SizeBytes(graph.tensor(id).desc));
  return bytes;
}

// Not those of a cache of keys and values or of a packed activation, which may have a weight's
// format.
double WeightBytes(const Graph& graph, const Node& node) {
  if (node.op->name == std::string_view("cached_attention")) return 0;
  double bytes = 0;
  for (const TensorId id : node.inputs) {
    const engine::Tensor& tensor = graph.tensor(id);
    if (tensor.kind != engine::TensorKind::kPersistent) continue;
    const engine::TensorDesc& desc = tensor.desc;
    if (desc.dtype == engine::DType::kWeight) bytes += static_cast<double>(SizeBytes(desc));
  }
  return bytes;
}

double Flops(const Graph& graph, const Node& node) {
  const auto shape = [&](size_t i) { return graph.tensor(node.inputs[i]).desc.shape; };
  const auto elements = [&](size_t i) { return static_cast<double>(shape(i).NumElements()); };
  const std::string_view op = node.op->name;
  if (op == "linear" || op == "linear_backward") {
    double weights = elements(1);
    if (node.attrs.IntOr("lora", 0) == 1) weights += elements(2) + elements(3);
    return 2 * static_cast<double>(shape(0).rows) * weights;
  }
  if (op == "lm_head_loss") {
    const double products = node.attrs.Int("with_grad") == 1 ? 4 : 2;
    return products * static_cast<double>(shape(0).rows) * elements(1);
  }
  if (op == "lora_grad") return 2 * elements(0) * static_cast<double>(shape(1).cols);
  // Two products of (T,T) x D forward and five backward, half of them masked away.
  if (op == "attention") return 2 * static_cast<double>(shape(0).rows) * elements(0);
  if (op == "attention_backward") return 5 * static_cast<double>(shape(1).rows) * elements(1);
  return 0;
}

}  // namespace

Work WorkOf(const Graph& graph, const Node& node) {
  const double written = BytesOfAll(graph, node.outputs);
  Work work{Flops(graph, node), written + 2 * BytesOfAll(graph, node.updates), 0};
  // Of a table of embeddings only the rows of the tokens are read.
  if (node.op->name == std::string_view("embed")) {
    work.bytes += written;
  } else {
    work.bytes += BytesOfAll(graph, node.inputs);
    work.weight_bytes = WeightBytes(graph, node);
  }
  return work;
}

Work WorkOf(const Graph& graph) {
  Work total;
  for (const Node& node : graph.nodes()) {
    const Work work = WorkOf(graph, node);
    total.flops += work.flops;
    total.bytes += work.bytes;
    total.weight_bytes += work.weight_bytes;
  }
  return total;
}

void Profiler::Add(const engine::Executable& executable) {
  std::vector<engine::NodeTime> times = executable.LastRunTimes();
  if (times.size() != graph_->nodes().size()) return;
  seconds_.resize(times.size());
  for (size_t i = 0; i < times.size(); ++i) seconds_[i] += times[i].seconds;
  last_ = std::move(times);
  ++runs_;
}

std::vector<OpProfile> Profiler::ByOp() const {
  std::map<std::string, OpProfile> by_op;
  for (size_t i = 0; i < seconds_.size(); ++i) {
    const Node& node = graph_->nodes()[i];
    OpProfile& profile = by_op[std::string(node.op->name)];
    const Work work = WorkOf(*graph_, node);
    profile.op = std::string(node.op->name);
    ++profile.calls;
    profile.seconds += seconds_[i] / static_cast<double>(runs_);
    profile.work.flops += work.flops;
    profile.work.bytes += work.bytes;
  }
  std::vector<OpProfile> sorted;
  for (auto& [name, profile] : by_op) sorted.push_back(std::move(profile));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const OpProfile& a, const OpProfile& b) { return a.seconds > b.seconds; });
  return sorted;
}

std::string Profiler::ChromeTrace() const {
  constexpr double kMicro = 1e6;
  nlohmann::json events = nlohmann::json::array();
  for (size_t i = 0; i < last_.size(); ++i) {
    const Node& node = graph_->nodes()[i];
    const Work work = WorkOf(*graph_, node);
    events.push_back(
        {{"name", node.op->name},
         {"ph", "X"},
         {"ts", last_[i].begin_s * kMicro},
         {"dur", last_[i].seconds * kMicro},
         {"pid", 1},
         {"tid", 1},
         {"args",
          {{"node", i}, {"block", node.block}, {"flops", work.flops}, {"bytes", work.bytes}}}});
  }
  return nlohmann::json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump();
}

}  // namespace choir::bench
