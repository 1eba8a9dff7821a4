#ifndef CHOIR_ENGINE_BACKEND_CPU_BLOCKING_H_
#define CHOIR_ENGINE_BACKEND_CPU_BLOCKING_H_

#include <cstdint>

namespace choir::engine {

// Blocks of products, each run by one thread. They do not depend on the number of threads, so
// neither do results. Measured with oneDNN 2.6.3 on a Zen 5 core: blocks of 64 columns and more run
// at full speed (f32 and bf16, K = 768), and 8 columns at half.
inline constexpr int64_t kBlockRows = 256;
inline constexpr int64_t BlockColumns(int64_t columns) {
  return columns >= 1024 ? 128 : 64;
}
// Products with the rank of an adapter as their width.
inline constexpr int64_t kThinBlockRows = 32;

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_BLOCKING_H_
