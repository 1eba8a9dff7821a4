#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/file.h"
#include "engine/lora/gguf_adapter.h"

// Any bytes are an error or an adapter that is valid, and that is written and read back the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using choir::engine::Adapter;
  choir::engine::AdapterReadReport report;
  const absl::StatusOr<Adapter> adapter = choir::engine::ParseGgufAdapter({data, size}, &report);
  if (!adapter.ok()) return 0;
  CHOIR_CHECK(choir::engine::ValidateAdapter(*adapter).ok());
  CHOIR_CHECK(choir::engine::Flatten(*adapter).size() == adapter->ParameterCount());
  const absl::StatusOr<std::string> bytes = choir::engine::SerializeGgufAdapter(*adapter);
  CHOIR_CHECK(bytes.ok());
  const absl::StatusOr<Adapter> again = choir::engine::ParseGgufAdapter(choir::AsBytes(*bytes));
  CHOIR_CHECK(again.ok());
  CHOIR_CHECK(choir::engine::SameShape(*adapter, *again));
  CHOIR_CHECK(*choir::engine::SerializeGgufAdapter(*again) == *bytes);
  return 0;
}
