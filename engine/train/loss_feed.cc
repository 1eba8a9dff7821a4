#include "engine/train/loss_feed.h"

#include <numeric>

#include "base/check.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

template <typename T>
std::span<const uint8_t> Bytes(const std::vector<T>& values) {
  return BytesOf(std::span<const T>(values));
}

}  // namespace

absl::Status WriteMicroBatch(Executable& program, const LossInputs& inputs, const MicroBatch& batch,
                             float loss_scale) {
  CHOIR_RETURN_IF_ERROR(program.WriteInput(inputs.ids, Bytes(batch.token_ids)));
  CHOIR_RETURN_IF_ERROR(program.WriteInput(inputs.positions, Bytes(batch.positions)));
  CHOIR_RETURN_IF_ERROR(program.WriteInput(inputs.segments, Bytes(batch.segment_ids)));
  CHOIR_RETURN_IF_ERROR(program.WriteInput(inputs.targets, Bytes(batch.targets)));
  CHOIR_RETURN_IF_ERROR(program.WriteInput(inputs.loss_weights, Bytes(batch.loss_weights)));
  return program.WriteInput(inputs.loss_scale, BytesOf(std::span<const float>(&loss_scale, 1)));
}

absl::StatusOr<double> ReadWeightedNll(Executable& program, TensorId nll, const MicroBatch& batch) {
  std::vector<float> values(batch.token_ids.size());
  CHOIR_RETURN_IF_ERROR(program.ReadOutput(nll, MutableBytesOf(std::span<float>(values))));
  double sum = 0;
  for (size_t t = 0; t < values.size(); ++t) {
    sum += static_cast<double>(batch.loss_weights[t]) * static_cast<double>(values[t]);
  }
  return sum;
}

MicroBatch MicroBatchOf(std::span<const int32_t> ids, std::span<const float> weights) {
  CHOIR_CHECK(ids.size() >= 2 && weights.size() == ids.size() - 1);
  const size_t tokens = ids.size() - 1;
  MicroBatch batch;
  batch.token_ids.assign(ids.begin(), ids.end() - 1);
  batch.positions.resize(tokens);
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.segment_ids.assign(tokens, 0);
  batch.targets.assign(ids.begin() + 1, ids.end());
  batch.loss_weights.assign(weights.begin(), weights.end());
  batch.real_tokens = static_cast<int64_t>(tokens);
  for (const float weight : weights) batch.total_loss_weight += static_cast<double>(weight);
  return batch;
}

}  // namespace choir::engine
