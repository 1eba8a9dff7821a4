#ifndef CHOIR_CLI_CHAT_CONVERSATION_H_
#define CHOIR_CLI_CHAT_CONVERSATION_H_

// A conversation with a model: what was said, and what answers it.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "cli/engine_session.h"
#include "cli/output.h"
#include "engine/chat/chat_template.h"
#include "engine/infer/generator.h"

namespace choir::cli {

struct ConversationOptions {
  int64_t max_tokens = 512;
  bool think = true;
  engine::CachedModelOptions model;
};

class Conversation {
 public:
  // `session` and `output` outlive it.
  Conversation(const ConversationOptions& options, const EngineSession& session,
               engine::ChatTemplate chat, std::unique_ptr<engine::Sampler> sampler, Output& output);

  // Asks, and shows the answer as it comes. The oldest turns are forgotten, and that is said, where
  // the conversation and a quarter of the context for the answer do not fit. A message that does
  // not fit by itself is a warning, and forgotten. Ctrl-C ends the answer and no more.
  absl::Status Ask(const std::string& text);

  void Reset();
  // Empty: none.
  void SetSystem(std::string text);
  [[nodiscard]] const std::string& system() const { return system_; }
  // FAILED_PRECONDITION if there is none.
  absl::Status UseAdapter(bool on);
  // Another one, and on. On error the old one stays.
  absl::Status LoadAdapter(const std::string& argument);
  [[nodiscard]] bool adapter_on() const { return adapter_on_; }
  [[nodiscard]] bool has_adapter() const { return adapter() != nullptr; }
  // One line of JSONL with all messages, as `choir train` reads them.
  [[nodiscard]] std::string ToJsonLine() const;
  [[nodiscard]] bool empty() const { return turns_.empty(); }

 private:
  [[nodiscard]] const engine::DeviceAdapter* adapter() const {
    return own_adapter_ != nullptr ? own_adapter_.get() : session_.adapter.get();
  }
  [[nodiscard]] std::vector<engine::ChatMessage> WithSystem(
      std::span<const engine::ChatMessage> turns) const;
  absl::StatusOr<std::vector<int32_t>> Tokens(std::span<const engine::ChatMessage> turns) const;
  // The prompt of `turns` without the oldest ones, which are dropped from it, as far as needed.
  absl::StatusOr<std::vector<int32_t>> Fit(std::vector<engine::ChatMessage>& turns);
  absl::StatusOr<engine::Generator*> ChooseGenerator();
  absl::StatusOr<engine::Generation> Generate(const std::vector<int32_t>& prompt);

  ConversationOptions options_;
  const EngineSession& session_;
  engine::ChatTemplate chat_;
  std::unique_ptr<engine::Sampler> sampler_;
  Output& output_;
  std::unique_ptr<engine::DeviceAdapter> own_adapter_;  // of LoadAdapter
  bool adapter_on_;
  // Each has its own cache, and is made when it is first wanted: a cache has a price.
  std::optional<engine::Generator> with_adapter_;
  std::optional<engine::Generator> without_adapter_;
  std::string system_;
  std::vector<engine::ChatMessage> turns_;  // user, assistant, user, ...
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_CHAT_CONVERSATION_H_
