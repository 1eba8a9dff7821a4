#include "engine/tokenizer/vocabulary.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";

// The byte that "<0x0A>" names.
std::optional<uint8_t> ParseByteToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return std::nullopt;
  uint8_t value = 0;
  const char* begin = text.data() + 3;
  const auto parsed = std::from_chars(begin, begin + 2, value, 16);
  if (parsed.ec != std::errc() || parsed.ptr != begin + 2) return std::nullopt;
  return value;
}

absl::Status LoadSpecialId(const GgufFile& file, std::string_view key, int32_t vocabulary_size,
                           std::optional<int32_t>& id) {
  if (!file.Has(key)) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const int64_t value, file.GetI64(key));
  // Converters write -1, as either type, for "none".
  if (value == -1 || value == std::numeric_limits<uint32_t>::max()) {
    id = std::nullopt;
    return absl::OkStatus();
  }
  if (value < 0 || value >= vocabulary_size) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}, outside the vocabulary of {} tokens", key, value, vocabulary_size));
  }
  id = static_cast<int32_t>(value);
  return absl::OkStatus();
}

// What ends a turn in Llama 3, Qwen (ChatML) and Gemma: files often leave eot_token_id out.
constexpr std::string_view kEndsOfTurn[] = {"<|eot_id|>", "<|im_end|>", "<end_of_turn>"};

}  // namespace

bool IsMergeable(TokenType type) {
  return type == TokenType::kNormal || type == TokenType::kUserDefined ||
         type == TokenType::kUnused;
}

absl::StatusOr<Vocabulary> Vocabulary::Load(const GgufFile& file, const SpecialTokens& defaults) {
  Vocabulary out;
  CHOIR_RETURN_IF_ERROR(out.LoadTexts(file));
  CHOIR_RETURN_IF_ERROR(out.LoadTypes(file));
  CHOIR_RETURN_IF_ERROR(out.LoadSpecial(file, defaults));
  return out;
}

absl::Status Vocabulary::LoadTexts(const GgufFile& file) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<std::string_view> texts,
                         file.GetStringArray(kTokensKey));
  if (texts.empty() || texts.size() > kMaxTokens) {
    return absl::InvalidArgumentError(fmt::format("{} has {} tokens; 1 to {} are supported",
                                                  kTokensKey, texts.size(), kMaxTokens));
  }
  texts_.reserve(texts.size());
  for (const std::string_view text : texts) {
    if (text.size() > kMaxTokenBytes) {
      return absl::InvalidArgumentError(fmt::format("token {} has {} bytes; at most {} are allowed",
                                                    texts_.size(), text.size(), kMaxTokenBytes));
    }
    longest_token_bytes_ = std::max(longest_token_bytes_, text.size());
    texts_.emplace_back(text);
  }
  for (int32_t id = 0; id < size(); ++id) {
    if (!text(id).empty()) index_.emplace(text(id), id);
  }
  return absl::OkStatus();
}

absl::Status Vocabulary::LoadTypes(const GgufFile& file) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> types, file.GetI32Array(kTypesKey));
  if (types.size() != texts_.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} has {} elements for {} tokens", kTypesKey, types.size(), texts_.size()));
  }
  types_.reserve(types.size());
  for (int32_t id = 0; id < size(); ++id) {
    const int32_t number = types[static_cast<size_t>(id)];
    if (number < static_cast<int32_t>(TokenType::kNormal) ||
        number > static_cast<int32_t>(TokenType::kByte)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: token {} has the type {}, which does not exist", kTypesKey, id, number));
    }
    types_.push_back(static_cast<TokenType>(number));
    if (types_.back() != TokenType::kByte) continue;
    const std::optional<uint8_t> byte = ParseByteToken(text(id));
    if (!byte.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("token {} is a byte token, but its text is not of the form <0x41>", id));
    }
    if (byte_tokens_[*byte].has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("tokens {} and {} stand for the same byte", *byte_tokens_[*byte], id));
    }
    byte_tokens_[*byte] = id;
  }
  return absl::OkStatus();
}

std::optional<int32_t> Vocabulary::OfType(std::optional<int32_t> id, TokenType wanted) const {
  return id.has_value() && Contains(*id) && type(*id) == wanted ? id : std::nullopt;
}

std::optional<int32_t> Vocabulary::FindEndOfTurn() const {
  for (const std::string_view name : kEndsOfTurn) {
    const std::optional<int32_t> id = Find(name);
    if (id.has_value() &&
        (type(*id) == TokenType::kControl || type(*id) == TokenType::kUserDefined))
      return id;
  }
  return std::nullopt;
}

absl::Status Vocabulary::LoadSpecial(const GgufFile& file, const SpecialTokens& defaults) {
  special_.bos = OfType(defaults.bos, TokenType::kControl);
  special_.eos = OfType(defaults.eos, TokenType::kControl);
  special_.unknown = OfType(defaults.unknown, TokenType::kUnknown);
  special_.eot = FindEndOfTurn();
  const std::pair<std::string_view, std::optional<int32_t>*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &special_.bos},
      {"tokenizer.ggml.eos_token_id", &special_.eos},
      {"tokenizer.ggml.eot_token_id", &special_.eot},
      {"tokenizer.ggml.unknown_token_id", &special_.unknown},
      {"tokenizer.ggml.padding_token_id", &special_.padding},
  };
  for (const auto& [key, id] : ids) CHOIR_RETURN_IF_ERROR(LoadSpecialId(file, key, size(), *id));
  const bool default_add_bos = defaults.add_bos && special_.bos.has_value();
  CHOIR_ASSIGN_OR_RETURN(special_.add_bos,
                         file.GetBool("tokenizer.ggml.add_bos_token", default_add_bos));
  CHOIR_ASSIGN_OR_RETURN(special_.add_eos, file.GetBool("tokenizer.ggml.add_eos_token", false));
  if ((special_.add_bos && !special_.bos.has_value()) ||
      (special_.add_eos && !special_.eos.has_value())) {
    return absl::InvalidArgumentError("the tokenizer asks for BOS or EOS, but names no such token");
  }
  return absl::OkStatus();
}

absl::Status Vocabulary::CheckId(int32_t id) const {
  if (Contains(id)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("token {} is outside the vocabulary of {}", id, size()));
}

char Vocabulary::ByteOf(int32_t id) const {
  const auto byte = std::find(byte_tokens_.begin(), byte_tokens_.end(), id) - byte_tokens_.begin();
  return static_cast<char>(byte);
}

std::optional<int32_t> Vocabulary::Find(std::string_view text) const {
  const auto found = index_.find(text);
  return found != index_.end() ? std::optional<int32_t>(found->second) : std::nullopt;
}

}  // namespace choir::engine
