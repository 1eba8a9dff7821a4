#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "secure-agg/tests/sample_messages.h"

// Every decoder over the same bytes: no crash, and what decodes encodes to what came in.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (!choir::secagg::DecodeIsExact({data, size})) std::abort();
  return 0;
}
