// `choir chat`: a conversation in the terminal.

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/engine_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/interrupt.h"
#include "cli/sampling_options.h"
#include "engine/chat/chat_template.h"
#include "engine/infer/generator.h"

namespace choir::cli {
namespace {

constexpr int64_t kDefaultContext = 2048;
constexpr size_t kMaxLineBytes = size_t{1} << 20;
constexpr std::string_view kCommands =
    "/adapter on, /adapter off   answer with the adapter or without it\n"
    "/reset                      begin a new conversation\n"
    "/quit                       end (as does the end of the input)";

struct Options {
  std::string model;
  std::vector<std::string> adapters;
  std::string system;
  std::string chat_template = "auto";
  int64_t max_tokens = 512;
  int64_t context_tokens = 0;
  bool think = true;
  SamplingChoice sampling;
  DeviceOptions device;
};

// The conversation and what answers it. The generator without the adapter is made when it is first
// wanted: its KV cache has a price.
class Conversation {
 public:
  Conversation(const Options& options, Environment& environment, const EngineSession& session,
               engine::ChatTemplate chat, std::unique_ptr<engine::Sampler> sampler)
      : options_(options),
        output_(environment.output),
        session_(session),
        chat_(std::move(chat)),
        sampler_(std::move(sampler)),
        adapter_on_(session.adapter != nullptr) {
    Reset();
  }

  absl::Status Run() {
    for (std::string line; !InterruptRequested() && ReadLine(line);) {
      if (line.empty()) continue;
      if (line == "/quit") return absl::OkStatus();
      if (line.front() == '/') {
        Obey(line);
      } else {
        CHOIR_RETURN_IF_ERROR(Answer(line));
      }
    }
    return InterruptRequested() ? absl::CancelledError("interrupted") : absl::OkStatus();
  }

 private:
  bool ReadLine(std::string& line) {
    output_.Note(output_.StyledErr(Style::kBold, adapter_on_ ? "you (adapter on):" : "you:"));
    return static_cast<bool>(std::getline(std::cin, line));
  }

  void Reset() {
    messages_.clear();
    if (!options_.system.empty()) messages_.push_back({"system", options_.system});
  }

  void Obey(const std::string& line) {
    const bool on = line == "/adapter on";
    if (on && session_.adapter == nullptr) {
      output_.Warning("there is no adapter: begin with --adapter");
    } else if (on || line == "/adapter off") {
      adapter_on_ = on;
    } else if (line == "/reset") {
      Reset();
    } else {
      output_.Note(kCommands);
    }
  }

  absl::StatusOr<engine::Generator*> ChooseGenerator() {
    std::optional<engine::Generator>& generator = adapter_on_ ? with_adapter_ : without_adapter_;
    if (!generator.has_value()) {
      engine::GeneratorOptions generator_options;
      generator_options.context_tokens = ContextTokens();
      generator_options.compute = ComputeOf(options_.device);
      CHOIR_ASSIGN_OR_RETURN(
          generator, engine::Generator::Create(
                         *session_.model, *session_.backend, *session_.weights,
                         adapter_on_ ? session_.adapter.get() : nullptr, generator_options));
    }
    return &*generator;
  }

  [[nodiscard]] int64_t ContextTokens() const {
    if (options_.context_tokens > 0) return options_.context_tokens;
    return std::clamp<int64_t>(session_.model->spec().context_length, 2, kDefaultContext);
  }

  absl::Status Answer(const std::string& line) {
    if (line.size() > kMaxLineBytes) {
      output_.Warning(fmt::format("a line of {} bytes is too long", line.size()));
      return absl::OkStatus();
    }
    std::vector<engine::ChatMessage> asked = messages_;
    asked.push_back({"user", line});
    CHOIR_ASSIGN_OR_RETURN(const std::vector<engine::ChatSpan> spans,
                           chat_.Prompt(asked, options_.think));
    const engine::Tokenizer& tokenizer = session_.model->tokenizer();
    CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> prompt,
                           engine::TokenizeChat(spans, tokenizer));
    if (static_cast<int64_t>(prompt.size()) >= ContextTokens()) {
      output_.Warning(
          fmt::format("the conversation has {} tokens, and the context {}: /reset, or begin with "
                      "a larger --ctx",
                      prompt.size(), ContextTokens()));
      return absl::OkStatus();
    }
    CHOIR_ASSIGN_OR_RETURN(const engine::Generation generation, Generate(prompt));
    messages_ = std::move(asked);
    messages_.push_back({"assistant", generation.text});
    return absl::OkStatus();
  }

  absl::StatusOr<engine::Generation> Generate(const std::vector<int32_t>& prompt) {
    CHOIR_ASSIGN_OR_RETURN(engine::Generator* const generator, ChooseGenerator());
    engine::GenerateOptions generate_options;
    generate_options.max_new_tokens = options_.max_tokens;
    generate_options.stop_strings = chat_.StopStrings();
    CHOIR_ASSIGN_OR_RETURN(
        engine::Generation generation,
        generator->Generate(prompt, *sampler_, generate_options, [this](std::string_view text) {
          output_.Piece(text);
          return !InterruptRequested();
        }));
    output_.Line("");
    // A format may put a space before the first word.
    generation.text.erase(0, generation.text.find_first_not_of(' '));
    output_.Json({{"role", "assistant"},
                  {"content", generation.text},
                  {"stop", StopReasonName(generation.reason)},
                  {"adapter", adapter_on_}});
    return generation;
  }

  const Options& options_;
  Output& output_;
  const EngineSession& session_;
  engine::ChatTemplate chat_;
  std::unique_ptr<engine::Sampler> sampler_;
  bool adapter_on_;
  std::optional<engine::Generator> with_adapter_;
  std::optional<engine::Generator> without_adapter_;
  std::vector<engine::ChatMessage> messages_;
};

absl::Status Run(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<engine::Sampler> sampler, MakeSampler(options.sampling));
  CHOIR_ASSIGN_OR_RETURN(const EngineSession session,
                         OpenSession(options.device, options.model, options.adapters));
  absl::StatusOr<engine::ChatTemplate> chat = engine::ChatTemplate::Choose(
      session.model->file(), session.model->tokenizer(), options.chat_template);
  if (!chat.ok()) {
    return BadInput("model", options.model, chat.status(),
                    "--chat-template plain works with every model, if not well");
  }
  environment.output.Note(
      fmt::format("chat template: {}. /help lists what else can be said.", chat->family()));
  Conversation conversation(options, environment, session, *std::move(chat), std::move(sampler));
  return conversation.Run();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->device.compute = "f32";
  AddModelOption(app, options->model);
  AddAdaptersOption(app, options->adapters);
  app.add_option("--system", options->system, "What the assistant is told before the conversation")
      ->type_name("TEXT");
  AddChatTemplateOption(app, options->chat_template);
  app.add_flag("--think,!--no-think", options->think,
               "Let a model that thinks first do so (default on)");
  app.add_option("-n,--max-tokens", options->max_tokens, "Stop an answer after so many tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
      ->type_name("N")
      ->capture_default_str();
  app.add_option(
         "--ctx", options->context_tokens,
         fmt::format("The longest conversation; default: the model's, at most {}", kDefaultContext))
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20).description(""))
      ->type_name("N");
  AddSamplingOptions(app, options->sampling);
  AddDeviceOptions(app, options->device);
  app.footer(fmt::format(
      "Reads a message a line, and writes answers as they come. In the conversation:\n{}\n\n"
      "Examples:\n"
      "  choir chat --model base.gguf --adapter mine.gguf --system \"Be brief.\"\n"
      "  echo 'What is a choir?' | choir chat --model base.gguf --temperature 0.7 --json\n",
      kCommands));
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kChatCommand = {"chat", "Talk to a model, with an adapter on or off", &Declare};

}  // namespace choir::cli
