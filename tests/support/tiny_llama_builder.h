#ifndef CHOIR_TESTS_SUPPORT_TINY_LLAMA_BUILDER_H_
#define CHOIR_TESTS_SUPPORT_TINY_LLAMA_BUILDER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace choir {

// A small llama with random F32 weights and a vocabulary of bytes, as a GGUF file in memory, for
// tests that need a whole model without the shared test data. Fields may be changed before Build,
// also into nonsense. Relatives of llama differ in `architecture` and in the tensors of `dims`.
struct TinyLlamaBuilder {
  std::string architecture = "llama";
  uint32_t layers = 2;
  uint32_t channels = 16;
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t feed_forward = 24;
  uint32_t context = 64;
  uint64_t seed = 1;

  // Metadata put on top of, or instead of, what the fields above say.
  std::map<std::string, uint32_t> u32_keys;
  std::map<std::string, float> f32_keys;
  std::map<std::string, std::string> string_keys;
  // Tensors by name: left out; with other dims (fastest axis first), or added with these.
  std::set<std::string> left_out;
  std::map<std::string, std::vector<uint64_t>> dims;

  [[nodiscard]] std::string Build() const;
};

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_TINY_LLAMA_BUILDER_H_
