#ifndef CHOIR_CLI_INITIAL_ADAPTER_H_
#define CHOIR_CLI_INITIAL_ADAPTER_H_

#include "absl/status/statusor.h"

#include "base/sha256.h"
#include "cli/output.h"
#include "cli/run_file.h"
#include "engine/lora/adapter.h"
#include "engine/model/model.h"

namespace choir::cli {

// The adapter that a run starts from: the operator's own (a GGUF file or a PEFT folder), or a fresh
// one as [lora] says. `spec` gets rank, alpha, modules and dropout of the operator's own, so that
// the run's configuration tells the truth. A usage error: [lora] asks for something else than the
// file holds; bad input: an adapter that cannot be read or does not fit the model. Warns of one
// that was made for another file.
absl::StatusOr<engine::Adapter> InitialAdapter(const RunFile& file, const engine::Model& model,
                                               const Digest& model_digest, v1::LoraSpec& spec,
                                               Output& output);

}  // namespace choir::cli

#endif  // CHOIR_CLI_INITIAL_ADAPTER_H_
