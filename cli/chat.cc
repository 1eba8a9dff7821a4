// `choir chat`: a conversation in the terminal.

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/chat_conversation.h"
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
    "/adapter PATH               load another one (PATH=WEIGHT scales it)\n"
    "/system TEXT                what the assistant is told; /system off: nothing; alone: show it\n"
    "/reset                      begin a new conversation\n"
    "/save FILE                  write the conversation as JSONL that `choir train` reads\n"
    "/help                       show this\n"
    "/quit                       end (as does the end of the input)";

struct Options {
  std::string model;
  std::vector<std::string> adapters;
  std::string system;
  std::string chat_template = "auto";
  int64_t max_tokens = 512;
  int64_t context_tokens = 0;
  std::string kv_cache = kDefaultKvCache;
  bool think = true;
  SamplingChoice sampling;
  DeviceOptions device;
};

// Reads lines, and obeys those that begin with a slash.
class Dialogue {
 public:
  Dialogue(Conversation& conversation, Output& output)
      : conversation_(conversation), output_(output), asks_(isatty(STDIN_FILENO) != 0) {}

  absl::Status Run() {
    for (std::string line; ReadLine(line);) {
      if (line.empty()) continue;
      if (line == "/quit") return absl::OkStatus();
      if (line.front() == '/') {
        Obey(line);
      } else if (line.size() > kMaxLineBytes) {
        output_.Warning(fmt::format("a line of {} bytes is too long", line.size()));
      } else {
        CHOIR_RETURN_IF_ERROR(conversation_.Ask(line));
        // Ctrl-C ended the answer, not the conversation.
        ForgiveInterrupt();
      }
    }
    return InterruptRequested() ? absl::CancelledError("interrupted") : absl::OkStatus();
  }

 private:
  bool ReadLine(std::string& line) {
    if (InterruptRequested()) return false;
    if (asks_) {
      output_.RawErr(
          output_.StyledErr(Style::kBold, conversation_.adapter_on() ? "[adapter] > " : "> "));
    }
    const bool read = static_cast<bool>(std::getline(std::cin, line));
    if (asks_ && !read) output_.RawErr("\n");
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    return read;
  }

  void Obey(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string word = line.substr(0, space);
    const size_t from = space == std::string::npos ? space : line.find_first_not_of(' ', space);
    const std::string argument = from == std::string::npos ? "" : line.substr(from);
    if (word == "/adapter" && !argument.empty()) {
      SwitchAdapter(argument);
    } else if (word == "/system") {
      ChangeSystem(argument);
    } else if (word == "/save" && !argument.empty()) {
      Save(argument);
    } else if (line == "/reset") {
      conversation_.Reset();
      output_.Note("(a new conversation)");
    } else {
      if (line != "/help") output_.Warning(fmt::format("{} is no command; these are:", line));
      output_.Note(kCommands);
    }
  }

  void SwitchAdapter(const std::string& argument) {
    const bool turn = argument == "on" || argument == "off";
    const absl::Status status =
        turn ? conversation_.UseAdapter(argument == "on") : conversation_.LoadAdapter(argument);
    if (!status.ok()) {
      output_.Warning(MessageOf(status));
    } else {
      output_.Note(conversation_.adapter_on() ? "(with the adapter)" : "(without an adapter)");
    }
  }

  void ChangeSystem(const std::string& argument) {
    if (!argument.empty()) conversation_.SetSystem(argument == "off" ? "" : argument);
    const std::string& system = conversation_.system();
    output_.Note(system.empty() ? "(no system message)" : fmt::format("(system: {})", system));
  }

  void Save(const std::string& path) {
    std::error_code error;
    if (conversation_.empty()) {
      output_.Warning("nothing was said yet");
    } else if (path != saved_ && std::filesystem::exists(path, error)) {
      output_.Warning(fmt::format("{} exists: choose another name", path));
    } else if (const auto status = AtomicWriteFile(path, conversation_.ToJsonLine(), 0600);
               !status.ok()) {
      output_.Warning(MessageOf(status));
    } else {
      saved_ = path;
      output_.Note(fmt::format("(saved to {})", path));
    }
  }

  Conversation& conversation_;
  Output& output_;
  bool asks_;          // a person sits there, not a file
  std::string saved_;  // may be written again
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
  ConversationOptions conversation_options{
      .max_tokens = options.max_tokens, .think = options.think, .model = {}};
  const int64_t native = session.model->spec().context_length;
  conversation_options.model.context_tokens = options.context_tokens > 0
                                                  ? options.context_tokens
                                                  : std::clamp<int64_t>(native, 2, kDefaultContext);
  conversation_options.model.compute = ComputeOf(options.device);
  CHOIR_ASSIGN_OR_RETURN(conversation_options.model.kv_cache,
                         KvCacheOf(options.kv_cache, session.model->spec()));
  Conversation conversation(conversation_options, session, *std::move(chat), std::move(sampler),
                            environment.output);
  conversation.SetSystem(options.system);
  return Dialogue(conversation, environment.output).Run();
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
  AddKvCacheOption(app, options->kv_cache);
  AddDeviceOptions(app, options->device);
  app.footer(fmt::format(
      "Reads a message a line, and writes answers as they come; Ctrl-C ends an answer. What both\n"
      "turns have in common is not processed again. When the context is full, the oldest turns "
      "are\n"
      "forgotten, and that is said. In the conversation:\n{}\n\n"
      "Examples:\n"
      "  choir chat --model base.gguf --adapter mine.gguf --system \"Be brief.\"\n"
      "  echo 'What is a choir?' | choir chat --model base.gguf --temperature 0.7 --json\n",
      kCommands));
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kChatCommand = {"chat", "Talk to a model, with an adapter on or off", &Declare};

}  // namespace choir::cli
