#include "engine/backend/reference_backend.h"

#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/graph/memory_plan.h"
#include "engine/graph/reference_run.h"

namespace choir::engine {
namespace {

struct ReferenceBuffer final : DeviceBuffer {
  [[nodiscard]] uint64_t size_bytes() const override { return bytes.size(); }
  std::vector<uint8_t> bytes;
};

absl::StatusOr<std::span<uint8_t>> Range(DeviceBuffer& buffer, uint64_t offset, uint64_t size) {
  auto& bytes = dynamic_cast<ReferenceBuffer&>(buffer).bytes;
  if (offset <= bytes.size() && size <= bytes.size() - offset) {
    return std::span(bytes).subspan(offset, size);
  }
  return absl::InvalidArgumentError(
      fmt::format("bytes [{}, +{}) of a buffer of {}", offset, size, bytes.size()));
}

RefTensor Decode(const TensorDesc& desc, std::span<const uint8_t> bytes) {
  if (desc.dtype == DType::kWeight) return RefWeight(desc, bytes);
  RefTensor tensor = RefZeros(desc);
  CHOIR_CHECK(bytes.size() == static_cast<size_t>(SizeBytes(desc)));
  if (desc.dtype == DType::kI32) {
    std::memcpy(tensor.ints.data(), bytes.data(), bytes.size());
    return tensor;
  }
  std::vector<float> floats(tensor.values.size());
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  tensor.values.assign(floats.begin(), floats.end());
  return tensor;
}

void Encode(const TensorDesc& desc, const RefTensor& tensor, std::span<uint8_t> bytes) {
  if (desc.dtype == DType::kWeight) {
    const std::vector<uint8_t> rows = EncodeRows(desc, tensor);
    CHOIR_CHECK(bytes.size() == rows.size());
    std::memcpy(bytes.data(), rows.data(), rows.size());
    return;
  }
  const std::vector<float> floats(tensor.values.begin(), tensor.values.end());
  CHOIR_CHECK(bytes.size() == floats.size() * sizeof(float));
  std::memcpy(bytes.data(), floats.data(), bytes.size());
}

class ReferenceExecutable final : public Executable {
 public:
  ReferenceExecutable(Graph graph, std::map<TensorId, Binding> bindings)
      : graph_(std::move(graph)), bindings_(std::move(bindings)) {
    for (const Node& node : graph_.nodes()) {
      written_.insert(node.updates.begin(), node.updates.end());
    }
  }

  absl::Status WriteInput(TensorId input, std::span<const uint8_t> bytes) override {
    const Tensor& tensor = graph_.tensor(input);
    if (tensor.kind != TensorKind::kInput ||
        bytes.size() != static_cast<size_t>(SizeBytes(tensor.desc))) {
      return absl::InvalidArgumentError(fmt::format(
          "{} is {} and no input of {} bytes", tensor.name, ToString(tensor.desc), bytes.size()));
    }
    values_[input] = Decode(tensor.desc, bytes);
    return absl::OkStatus();
  }

  absl::Status Run() override {
    for (const auto& [id, binding] : bindings_) {
      const TensorDesc& desc = graph_.tensor(id).desc;
      // Weights stay as they are; a cache may have been written by another executable.
      if (desc.dtype == DType::kWeight && values_.contains(id) && !written_.contains(id)) continue;
      CHOIR_ASSIGN_OR_RETURN(const std::span<uint8_t> bytes, Bytes(id));
      values_[id] = Decode(desc, bytes);
    }
    CHOIR_RETURN_IF_ERROR(RunReference(graph_, values_));
    for (const Node& node : graph_.nodes()) {
      for (const TensorId id : node.updates) {
        CHOIR_ASSIGN_OR_RETURN(const std::span<uint8_t> bytes, Bytes(id));
        Encode(graph_.tensor(id).desc, values_.at(id), bytes);
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadOutput(TensorId output, std::span<uint8_t> bytes) override {
    const Tensor& tensor = graph_.tensor(output);
    const bool ran = values_.contains(output);
    if (!tensor.is_output || !ran || bytes.size() != static_cast<size_t>(SizeBytes(tensor.desc))) {
      return absl::InvalidArgumentError(
          fmt::format("{} is no output of {} bytes", tensor.name, bytes.size()));
    }
    Encode(tensor.desc, values_.at(output), bytes);
    return absl::OkStatus();
  }

  [[nodiscard]] MemoryUse memory_use() const override {
    return {.arena_bytes = static_cast<uint64_t>(PlanMemory(graph_, 64).arena_bytes),
            .workspace_bytes = 0};
  }

 private:
  absl::StatusOr<std::span<uint8_t>> Bytes(TensorId id) {
    const Binding& binding = bindings_.at(id);
    return Range(*binding.buffer, binding.offset_bytes,
                 static_cast<uint64_t>(SizeBytes(graph_.tensor(id).desc)));
  }

  Graph graph_;
  std::map<TensorId, Binding> bindings_;
  std::set<TensorId> written_;
  RefValues values_;
};

class ReferenceBackend final : public Backend {
 public:
  [[nodiscard]] const DeviceInfo& info() const override { return info_; }

  absl::StatusOr<std::shared_ptr<DeviceBuffer>> WrapWeights(
      std::span<const uint8_t> bytes) override {
    auto buffer = std::make_shared<ReferenceBuffer>();
    buffer->bytes.assign(bytes.begin(), bytes.end());
    return buffer;
  }

  absl::StatusOr<std::shared_ptr<DeviceBuffer>> Allocate(uint64_t size_bytes) override {
    auto buffer = std::make_shared<ReferenceBuffer>();
    buffer->bytes.resize(size_bytes);
    return buffer;
  }

  absl::Status Write(DeviceBuffer& buffer, uint64_t offset_bytes,
                     std::span<const uint8_t> bytes) override {
    CHOIR_ASSIGN_OR_RETURN(const std::span<uint8_t> to, Range(buffer, offset_bytes, bytes.size()));
    std::copy(bytes.begin(), bytes.end(), to.begin());
    return absl::OkStatus();
  }

  absl::Status Read(const DeviceBuffer& buffer, uint64_t offset_bytes,
                    std::span<uint8_t> bytes) override {
    const auto& from = dynamic_cast<const ReferenceBuffer&>(buffer).bytes;
    if (offset_bytes > from.size() || bytes.size() > from.size() - offset_bytes) {
      return absl::InvalidArgumentError("a read beyond the buffer");
    }
    std::memcpy(bytes.data(), from.data() + offset_bytes, bytes.size());
    return absl::OkStatus();
  }

  [[nodiscard]] absl::Status Supports(const Graph& /*graph*/, const Node& /*node*/) const override {
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<Executable>> Compile(const Graph& graph,
                                                      const std::map<TensorId, Binding>& bindings,
                                                      const CompileOptions& /*options*/) override {
    for (size_t id = 0; id < graph.tensors().size(); ++id) {
      const Tensor& tensor = graph.tensors()[id];
      const bool bound = bindings.contains(static_cast<TensorId>(id));
      if (tensor.kind == TensorKind::kPersistent && !bound) {
        return absl::InvalidArgumentError(fmt::format("{} is not bound", tensor.name));
      }
    }
    return std::make_unique<ReferenceExecutable>(graph, bindings);
  }

 private:
  DeviceInfo info_ = {.backend = "reference",
                      .name = "the ops' references",
                      .driver = "",
                      .memory_bytes = 0,
                      .max_buffer_range_bytes = 0,
                      .is_software = true,
                      .features = {}};
};

}  // namespace

std::unique_ptr<Backend> CreateReferenceBackend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace choir::engine
