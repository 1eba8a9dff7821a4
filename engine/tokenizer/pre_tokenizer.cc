#include "engine/tokenizer/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/utf8.h"

namespace choir::engine {
namespace {

// \s of the families' tokenizers is Unicode's White_Space. PCRE2's own \s has U+180E besides.
#define CHOIR_SPACE "\\p{White_Space}"
#define CHOIR_NO_SPACE "\\P{White_Space}"
#define CHOIR_SYMBOLS " ?[^" CHOIR_SPACE "\\p{L}\\p{N}]+"
#define CHOIR_SPACES_BUT_LAST CHOIR_SPACE "+(?!" CHOIR_NO_SPACE ")"

#define CHOIR_GPT2_WORDS \
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" CHOIR_SYMBOLS "|" CHOIR_SPACES_BUT_LAST
// What Llama 3 and Qwen share; they differ in how many digits make a word.
#define CHOIR_LLAMA3_WORDS(numbers)                                                              \
  "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers \
  "|" CHOIR_SYMBOLS "[\\r\\n]*|" CHOIR_SPACE "*[\\r\\n]+|" CHOIR_SPACES_BUT_LAST "|" CHOIR_SPACE \
  "+"

constexpr const char* kGpt2[] = {CHOIR_GPT2_WORDS "|" CHOIR_SPACE "+"};
constexpr const char* kLlama3[] = {CHOIR_LLAMA3_WORDS("\\p{N}{1,3}")};
constexpr const char* kQwen2[] = {CHOIR_LLAMA3_WORDS("\\p{N}")};
// What llama.cpp does with a file that names no family.
constexpr const char* kDefault[] = {
    "[\\p{P}\\$\\+<=>\\^~\\|]+",
    CHOIR_GPT2_WORDS,
    "\\p{N}+",
    "[0-9][0-9][0-9]",
};

struct Family {
  std::string_view name;  // tokenizer.ggml.pre
  std::span<const char* const> expressions;
  bool whole_words;
  bool add_bos;
};
constexpr Family kFamilies[] = {
    {"default", kDefault, false, false},        {"gpt-2", kGpt2, false, false},
    {"llama-bpe", kLlama3, true, true},         {"llama3", kLlama3, true, true},
    {"llama-v3", kLlama3, true, true},          {"qwen2", kQwen2, false, false},
    {"deepseek-r1-qwen", kQwen2, false, false},
};

// No expression above backtracks over more than the run that it then takes, so this is never
// reached; it is there for the mistake that makes it reachable.
constexpr uint32_t kMatchLimit = 4 * static_cast<uint32_t>(Tokenizer::kMaxTextBytes);

PCRE2_SPTR Units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[160] = {};
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

struct FreePcre2 {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

}  // namespace

// One expression. Interpreted, not compiled to machine code: systems that forbid writable and
// executable memory are among ours, and a megabyte takes a fraction of a second.
class PreTokenizer::Regex {
 public:
  static absl::StatusOr<std::unique_ptr<const Regex>> Compile(std::string_view pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    auto regex = std::make_unique<Regex>();
    regex->code_.reset(
        pcre2_compile(Units(pattern), pattern.size(), PCRE2_UTF, &error, &offset, nullptr));
    if (regex->code_ == nullptr) {
      return absl::InternalError(
          fmt::format("PCRE2 refuses a pre-tokenizer's expression at {}: {}; PCRE2 10.40 or newer, "
                      "built with Unicode, is needed",
                      offset, ErrorText(error)));
    }
    regex->context_.reset(pcre2_match_context_create(nullptr));
    if (regex->context_ == nullptr) return absl::ResourceExhaustedError("no memory for PCRE2");
    pcre2_set_match_limit(regex->context_.get(), kMatchLimit);
    return std::unique_ptr<const Regex>(std::move(regex));
  }

  // Appends the matches in `text`, which must be UTF-8, and what lies between them.
  absl::Status Cut(std::string_view text, std::vector<std::string_view>& out) const {
    const std::unique_ptr<pcre2_match_data, FreePcre2> data(
        pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    if (data == nullptr) return absl::ResourceExhaustedError("no memory for PCRE2");
    size_t done = 0;
    while (done < text.size()) {
      const int result =
          pcre2_match(code_.get(), Units(text), text.size(), done,
                      PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data.get(), context_.get());
      if (result == PCRE2_ERROR_NOMATCH) break;
      if (result < 0) {
        return absl::ResourceExhaustedError(fmt::format("cutting a text of {} bytes into words: {}",
                                                        text.size(), ErrorText(result)));
      }
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
      if (bounds[0] > done) out.push_back(text.substr(done, bounds[0] - done));
      out.push_back(text.substr(bounds[0], bounds[1] - bounds[0]));
      done = bounds[1];
    }
    if (done < text.size()) out.push_back(text.substr(done));
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<pcre2_code, FreePcre2> code_;
  std::unique_ptr<pcre2_match_context, FreePcre2> context_;
};

PreTokenizer::PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

absl::StatusOr<PreTokenizer> PreTokenizer::Create(std::string_view name) {
  std::string known;
  for (const Family& family : kFamilies) {
    known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", family.name);
    if (family.name != name) continue;
    PreTokenizer out;
    out.whole_words_ = family.whole_words;
    out.add_bos_ = family.add_bos;
    for (const char* expression : family.expressions) {
      CHOIR_ASSIGN_OR_RETURN(auto stage, Regex::Compile(expression));
      out.stages_.push_back(std::move(stage));
    }
    return out;
  }
  return absl::UnimplementedError(
      fmt::format("the pre-tokenizer \"{}\" is not supported; these are: {}", name, known));
}

absl::Status PreTokenizer::Split(std::string_view text,
                                 std::vector<std::string_view>& words) const {
  while (!text.empty()) {
    const bool valid = StartsWithUtf8(text);
    size_t size = 0;
    while (size < text.size() && StartsWithUtf8(text.substr(size)) == valid) {
      size += valid ? FirstCharacter(text.substr(size)).size() : 1;
    }
    if (valid) {
      CHOIR_RETURN_IF_ERROR(SplitUtf8(text.substr(0, size), words));
    } else {
      words.push_back(text.substr(0, size));
    }
    text.remove_prefix(size);
  }
  return absl::OkStatus();
}

absl::Status PreTokenizer::SplitUtf8(std::string_view text,
                                     std::vector<std::string_view>& words) const {
  std::vector<std::string_view> pieces = {text};
  for (const auto& stage : stages_) {
    std::vector<std::string_view> next;
    for (const std::string_view piece : pieces) CHOIR_RETURN_IF_ERROR(stage->Cut(piece, next));
    pieces = std::move(next);
  }
  words.insert(words.end(), pieces.begin(), pieces.end());
  return absl::OkStatus();
}

}  // namespace choir::engine
