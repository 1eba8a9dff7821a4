#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "engine/backend/vulkan/tuning_table.h"

// Any file gives a table that its own text gives again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using choir::engine::vulkan::TuningTable;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const TuningTable table = TuningTable::FromText(text, "v");
  const std::string kept = table.ToText("v");
  const TuningTable again = TuningTable::FromText(kept, "v");
  CHOIR_CHECK(again.ToText("v") == kept);
  CHOIR_CHECK(again.Describe() == table.Describe());
  CHOIR_CHECK(TuningTable::FromText(kept, "w").Describe().empty());
  return 0;
}
