#ifndef CHOIR_ENGINE_BACKEND_CPU_BLOCKING_H_
#define CHOIR_ENGINE_BACKEND_CPU_BLOCKING_H_

#include <cstdint>

namespace choir::engine {

// Blocks of products, each run by one thread. They do not depend on the number of threads, so
// neither do results. Measured with oneDNN 2.6.3 on a Zen 5 core, in a training step of a 110M
// model of T = 256 (`choir bench train`): 256 x 128 blocks give 463 tokens/s f32 and 759 bf16, 256
// x 256 the same, 256 x 64 give 419 and 673, 128 x 128 give 433 and 708. Narrow outputs take
// smaller blocks, so that there is one for every core.
inline constexpr int64_t kBlockRows = 256;
inline constexpr int64_t BlockColumns(int64_t columns) {
  return columns >= 512 ? 128 : 64;
}
// Products with the rank of an adapter as their width.
inline constexpr int64_t kThinBlockRows = 32;

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_BLOCKING_H_
