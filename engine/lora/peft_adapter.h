#ifndef CHOIR_ENGINE_LORA_PEFT_ADAPTER_H_
#define CHOIR_ENGINE_LORA_PEFT_ADAPTER_H_

// LoRA adapters as Hugging Face PEFT keeps them: a folder with adapter_config.json and
// adapter_model.safetensors, tensors <module>.lora_A.weight (rank, in) and .lora_B.weight (out,
// rank) in the base model's Hugging Face names and row order.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/peft_modules.h"

namespace choir::engine {

// Reads F32, F16 or BF16 tensors. INVALID_ARGUMENT, UNIMPLEMENTED: see ParsePeftConfig; also a
// module that cannot be adapted, a half pair, ranks that contradict the configuration or
// each other, another dtype. DATA_LOSS: a damaged file. NOT_FOUND: a file of the two is missing.
absl::StatusOr<Adapter> ReadPeftAdapter(const std::string& folder, const PeftBase& base);
// The same from the two files' contents.
absl::StatusOr<Adapter> ParsePeftAdapter(std::string_view config_json,
                                         std::span<const uint8_t> safetensors,
                                         const PeftBase& base);

// Writes the two files into `folder`, made if it is not there; each appears whole, the
// configuration last. INVALID_ARGUMENT if the adapter is not valid, or has a target without a name
// there.
absl::Status WritePeftAdapter(const Adapter& adapter, const PeftBase& base,
                              const std::string& folder);

// A GGUF file or a PEFT folder, whichever `path` is.
absl::StatusOr<Adapter> ReadAdapter(const std::string& path, const PeftBase& base,
                                    AdapterReadReport* report = nullptr);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_PEFT_ADAPTER_H_
