#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/file.h"
#include "engine/lora/peft_adapter.h"
#include "engine/lora/peft_config.h"
#include "engine/lora/safetensors.h"

// Any bytes, taken as a PEFT folder's tensors and as its configuration, are an error or something
// valid: tensors lie in the file, an adapter passes its checks, a configuration is written and read
// back.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace choir::engine;
  constexpr std::string_view kConfig = R"({"peft_type":"LORA","r":2,"lora_alpha":4})";
  const PeftBase base{.architecture = "llama",
                      .name = {},
                      .num_layers = 2,
                      .num_heads = 2,
                      .num_kv_heads = 1,
                      .reorders_heads = true};
  const auto file = SafetensorsFile::Parse({data, size});
  if (file.ok()) {
    uint64_t bytes = 0;
    for (const SafetensorsTensor& tensor : file->tensors()) bytes += tensor.bytes.size();
    CHOIR_CHECK(bytes <= size);
  }
  const auto adapter = ParsePeftAdapter(kConfig, {data, size}, base);
  if (adapter.ok()) CHOIR_CHECK(ValidateAdapter(*adapter).ok());
  const auto config = ParsePeftConfig(choir::AsChars({data, size}));
  if (config.ok()) CHOIR_CHECK(ParsePeftConfig(SerializePeftConfig(*config)).ok());
  return 0;
}
