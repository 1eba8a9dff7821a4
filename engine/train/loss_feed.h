#ifndef CHOIR_ENGINE_TRAIN_LOSS_FEED_H_
#define CHOIR_ENGINE_TRAIN_LOSS_FEED_H_

// Between a micro-batch and the programs that compute its loss.

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/train_graph.h"
#include "engine/train/packer.h"

namespace choir::engine {

// Writes all inputs. `loss_scale`: see TrainGraph. The batch has the program's number of tokens.
absl::Status WriteMicroBatch(Executable& program, const LossInputs& inputs, const MicroBatch& batch,
                             float loss_scale);

// After a run: sum over t of loss_weights_t * nll_t, in order and in f64, so that the same batch
// gives the same bits.
absl::StatusOr<double> ReadWeightedNll(Executable& program, TensorId nll, const MicroBatch& batch);

// One document that is no packer's: ids[i] predicts ids[i + 1] with weights[i]. At least two ids;
// weights.size() == ids.size() - 1.
MicroBatch MicroBatchOf(std::span<const int32_t> ids, std::span<const float> weights);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_LOSS_FEED_H_
