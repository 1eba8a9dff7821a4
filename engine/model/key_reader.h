#ifndef CHOIR_ENGINE_MODEL_KEY_READER_H_
#define CHOIR_ENGINE_MODEL_KEY_READER_H_

// Reads the hyperparameters "<architecture>.<key>" of a model file and checks their ranges, so that
// what enters a ModelSpec can be computed with.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"

namespace choir::engine {

// Both arguments outlive the reader. NOT_FOUND: absent, without fallback; INVALID_ARGUMENT: of
// another kind or out of range. Both name the key.
class KeyReader {
 public:
  KeyReader(const GgufFile& file, std::string_view architecture)
      : file_(file), architecture_(architecture) {}

  // From 1 to `max`; `fallback` lies in that range, too.
  [[nodiscard]] absl::StatusOr<int64_t> Size(std::string_view key, uint32_t max,
                                             std::optional<int64_t> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<double> Number(std::string_view key, double min, double max,
                                              std::optional<float> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<std::string_view> String(std::string_view key,
                                                        std::string_view fallback) const;
  [[nodiscard]] bool Has(std::string_view key) const { return file_.Has(Full(key)); }
  // The key's name in the file.
  [[nodiscard]] std::string Full(std::string_view key) const;

 private:
  const GgufFile& file_;
  std::string_view architecture_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_KEY_READER_H_
