#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "engine/train/dataset.h"
#include "engine/train/packer.h"
#include "tests/support/vocabulary_builder.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<ChatSpan>> FormatChat(std::span<const ChatMessage> messages) {
  std::vector<ChatSpan> spans;
  for (const ChatMessage& message : messages) {
    spans.push_back({message.role, true, false});
    spans.push_back({message.content, false, message.role == "assistant"});
  }
  return spans;
}

const Tokenizer& SmallTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    const std::string bytes = VocabularyBuilder().Build();
    return *LoadTokenizer(*GgufFile::Parse(AsBytes(bytes)));
  }();
  return *tokenizer;
}

std::vector<Example> ParseLines(std::string_view text) {
  std::vector<Example> examples;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (absl::StatusOr<Example> example = ParseExample(text.substr(0, end)); example.ok()) {
      examples.push_back(*std::move(example));
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return examples;
}

}  // namespace
}  // namespace choir::engine

// Any lines are errors or examples; any examples make documents that pack, each target once.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace choir::engine;
  const std::vector<Example> examples = ParseLines(choir::AsChars({data, size}));
  absl::StatusOr<std::vector<Document>> documents = TokenizeExamples(
      examples, SmallTokenizer(), {.train_on = TrainOn::kCompletion, .chat_formatter = FormatChat});
  if (!documents.ok()) return 0;
  double wanted = 0;
  for (const Document& document : *documents) {
    for (const uint8_t mark : document.in_loss) wanted += mark;
  }
  absl::StatusOr<Packer> packer = Packer::Create(*documents, {.tokens_per_micro_batch = 16}, 1);
  CHOIR_CHECK(packer.ok());
  MicroBatch batch;
  double found = 0;
  do {
    CHOIR_CHECK(packer->Next(batch).ok());
    CHOIR_CHECK(batch.total_loss_weight > 0);
    found += batch.total_loss_weight;
  } while (!batch.last_of_epoch);
  CHOIR_CHECK(found == wanted);
  return 0;
}
