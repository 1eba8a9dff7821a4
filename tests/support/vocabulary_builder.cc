#include "tests/support/vocabulary_builder.h"

#include <limits>

#include <fmt/format.h>

#include "base/check.h"
#include "engine/gguf/gguf_writer.h"
#include "engine/tokenizer/byte_alphabet.h"

namespace choir {

VocabularyBuilder::VocabularyBuilder() {
  Add("<unk>", 0.0f, 2);
  Add("<s>", 0.0f, 3);
  Add("</s>", 0.0f, 3);
  for (int byte = 0; byte < 256; ++byte) Add(fmt::format("<0x{:02X}>", byte), 0.0f, 6);
  Add("\u2581", -1e6f, 1);
}

VocabularyBuilder VocabularyBuilder::ByteLevel(const std::string& pre) {
  VocabularyBuilder out;
  out.model = "gpt2";
  out.pre = pre;
  out.tokens.clear();
  out.scores.clear();
  out.types.clear();
  for (int byte = 0; byte < 256; ++byte) {
    out.Add(std::string(engine::ByteCharacter(static_cast<uint8_t>(byte))), 0.0f, 1);
  }
  out.bos = static_cast<uint32_t>(out.Add("<|end|>", 0.0f, 3));
  out.eos = out.bos;
  out.unknown = std::numeric_limits<uint32_t>::max();  // "none"
  out.add_bos = false;
  return out;
}

int32_t VocabularyBuilder::Add(const std::string& text, float score, int32_t type) {
  tokens.push_back(text);
  scores.push_back(score);
  types.push_back(type);
  return static_cast<int32_t>(tokens.size()) - 1;
}

std::string VocabularyBuilder::Build() const {
  engine::GgufWriter writer;
  writer.SetString("general.architecture", "llama");
  writer.SetString("tokenizer.ggml.model", model);
  if (!pre.empty()) writer.SetString("tokenizer.ggml.pre", pre);
  if (!chat_template.empty()) writer.SetString("tokenizer.chat_template", chat_template);
  if (model == "gpt2") writer.SetStringArray("tokenizer.ggml.merges", merges);
  writer.SetStringArray("tokenizer.ggml.tokens", tokens);
  writer.SetF32Array("tokenizer.ggml.scores", scores);
  writer.SetI32Array("tokenizer.ggml.token_type", types);
  if (say_special) {
    writer.SetU32("tokenizer.ggml.bos_token_id", bos);
    writer.SetU32("tokenizer.ggml.eos_token_id", eos);
    writer.SetU32("tokenizer.ggml.unknown_token_id", unknown);
    if (add_bos.has_value()) writer.SetBool("tokenizer.ggml.add_bos_token", *add_bos);
    writer.SetBool("tokenizer.ggml.add_eos_token", add_eos);
  }
  writer.SetBool("tokenizer.ggml.add_space_prefix", add_space_prefix);
  const absl::StatusOr<std::string> bytes = writer.Serialize();
  CHOIR_CHECK(bytes.ok());
  return *bytes;
}

}  // namespace choir
