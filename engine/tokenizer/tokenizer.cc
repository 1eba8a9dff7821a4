#include "engine/tokenizer/tokenizer.h"

#include <string>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/tokenizer/bpe_tokenizer.h"
#include "engine/tokenizer/spm_tokenizer.h"

namespace choir::engine {
namespace {

using Loader = absl::StatusOr<std::unique_ptr<Tokenizer>> (*)(const GgufFile&);
struct TokenizerEntry {
  std::string_view model;  // tokenizer.ggml.model
  Loader load;
};
constexpr TokenizerEntry kTokenizers[] = {
    {"gpt2", BpeTokenizer::Load},
    {"llama", SpmTokenizer::Load},
};

}  // namespace

bool Tokenizer::IsEndOfGeneration(int32_t id) const {
  return special().eos == id || special().eot == id;
}

absl::Status Tokenizer::CheckTextSize(std::string_view text) {
  if (text.size() <= kMaxTextBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "a text of {} bytes; at most {} are tokenised at once", text.size(), kMaxTextBytes));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufFile& file) {
  CHOIR_ASSIGN_OR_RETURN(const std::string_view model, file.GetString("tokenizer.ggml.model"));
  std::string known;
  for (const TokenizerEntry& entry : kTokenizers) {
    if (entry.model == model) return entry.load(file);
    known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", entry.model);
  }
  return absl::UnimplementedError(
      fmt::format("the tokenizer model \"{}\" is not supported; these are: {}", model, known));
}

}  // namespace choir::engine
