#include "engine/model/missing_tokenizer.h"

#include <utility>

namespace choir::engine {
namespace {

class MissingTokenizer : public Tokenizer {
 public:
  MissingTokenizer(absl::Status reason, int32_t vocabulary_size)
      : reason_(std::move(reason)), vocabulary_size_(vocabulary_size) {}

  [[nodiscard]] absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view /*text*/, const EncodeOptions& /*options*/) const override {
    return reason_;
  }
  [[nodiscard]] absl::StatusOr<std::string> Piece(int32_t /*id*/) const override { return reason_; }
  [[nodiscard]] absl::StatusOr<std::string> Decode(
      std::span<const int32_t> /*ids*/) const override {
    return reason_;
  }
  [[nodiscard]] const SpecialTokens& special() const override { return special_; }
  [[nodiscard]] int32_t vocabulary_size() const override { return vocabulary_size_; }
  [[nodiscard]] std::optional<int32_t> FindToken(std::string_view /*text*/) const override {
    return std::nullopt;
  }

 private:
  absl::Status reason_;
  SpecialTokens special_;
  int32_t vocabulary_size_;
};

}  // namespace

std::unique_ptr<Tokenizer> MakeMissingTokenizer(absl::Status reason, int32_t vocabulary_size) {
  return std::make_unique<MissingTokenizer>(std::move(reason), vocabulary_size);
}

}  // namespace choir::engine
