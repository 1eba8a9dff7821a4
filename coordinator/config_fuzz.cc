#include <cstddef>
#include <cstdint>

#include "base/file.h"
#include "coordinator/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)choir::coordinator::ParseConfig(choir::AsChars({data, size}), "fuzz");
  return 0;
}
