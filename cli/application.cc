#include "cli/application.h"

#include <algorithm>
#include <exception>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "base/check.h"
#include "cli/exit_code.h"
#include "cli/failure.h"
#include "cli/version.h"

namespace choir::cli {
namespace {

constexpr const char* kDescription =
    "Choir fine-tunes LoRA adapters of language models on people's own devices.";
constexpr const char* kRootFooter =
    "Examples:\n"
    "  choir train --model base.gguf --data notes.jsonl --output mine.gguf\n"
    "  choir generate --model base.gguf --adapter mine.gguf --prompt \"Once upon a time\"\n"
    "  choir devices\n\n";

// Of a line of help: the options' column, and what is left of 100 columns.
constexpr size_t kOptionColumns = 34;
constexpr size_t kDescriptionColumns = 100 - kOptionColumns;

// The options that every command has.
struct CommonOptions {
  bool json = false;
  bool quiet = false;
  std::string colour = "auto";
};

// A command line that is being built: CLI11's app, and what runs after parsing.
struct Parser {
  CLI::App app{kDescription, "choir"};
  CommonOptions common;
  std::span<const CommandGroup> groups;
  std::map<std::string, CLI::App*, std::less<>> group_apps;
  std::vector<std::pair<CLI::App*, Action>> actions;
};

void DeclareCommon(CLI::App& app, CommonOptions& common) {
  app.set_help_flag("-h,--help", "Show this help")->group("Output");
  app.add_flag("--json", common.json, "Print the result as JSON on stdout")->group("Output");
  app.add_flag("-q,--quiet", common.quiet, "Print nothing but the result and errors")
      ->group("Output");
  app.add_option("--color", common.colour, "auto, always or never")
      ->check(OneOf({"auto", "always", "never"}))
      ->type_name("WHEN")
      ->group("Output");
}

// CLI11 prints a description as it is: long ones would run over the terminal's edge.
std::string Wrapped(const std::string& text, size_t columns) {
  std::string wrapped;
  size_t used = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (used > 0 && used + 1 + (end - begin) > columns) {
      wrapped += '\n';
      used = 0;
    } else if (used > 0) {
      wrapped += ' ';
      ++used;
    }
    wrapped.append(text, begin, end - begin);
    used += end - begin;
    begin = end + 1;
  }
  return wrapped;
}

// As CLI11 renders it, without its doubled empty lines.
std::string HelpOf(const CLI::App& app, const std::string& parent_path) {
  const std::string help = app.help(parent_path);
  std::string text;
  for (size_t i = 0; i < help.size(); ++i) {
    if (help.compare(i, 3, "\n\n\n") != 0) text += help[i];
  }
  return text;
}

// Groups come into being with their first command, so that --help has the order of the table. A
// group may stand in another: "federation manifest".
CLI::App* GroupApp(const std::string& name, Parser& parser) {
  if (const auto found = parser.group_apps.find(name); found != parser.group_apps.end()) {
    return found->second;
  }
  const auto group = std::find_if(parser.groups.begin(), parser.groups.end(),
                                  [&name](const CommandGroup& g) { return g.name == name; });
  CHOIR_CHECK(group != parser.groups.end());
  const size_t space = name.rfind(' ');
  CLI::App* parent =
      space == std::string::npos ? &parser.app : GroupApp(name.substr(0, space), parser);
  CLI::App* app = parent->add_subcommand(name.substr(space + 1), group->summary);
  app->require_subcommand(1);
  app->set_help_flag("-h,--help", "Show this help");
  app->footer(kExitCodeHelp);
  parser.group_apps.emplace(name, app);
  return app;
}

void DeclareCommand(const Command& command, Parser& parser) {
  const std::string path = command.path;
  CLI::App* parent = &parser.app;
  std::string name = path;
  if (const size_t space = path.rfind(' '); space != std::string::npos) {
    parent = GroupApp(path.substr(0, space), parser);
    name = path.substr(space + 1);
  }
  CLI::App* app = parent->add_subcommand(name, command.summary);
  parser.actions.emplace_back(app, command.declare(*app));
  DeclareCommon(*app, parser.common);
  for (CLI::Option* option : app->get_options()) {
    option->description(Wrapped(option->get_description(), kDescriptionColumns));
  }
  app->footer(fmt::format("{}\n{}", app->get_footer(), kExitCodeHelp));
}

void Declare(std::span<const Command* const> commands, std::span<const CommandGroup> groups,
             Parser& parser) {
  parser.app.set_version_flag("--version", fmt::format("choir {}", kVersion), "Show the version");
  parser.app.set_help_flag("-h,--help", "Show this help");
  parser.app.require_subcommand(1);
  parser.app.get_formatter()->column_width(kOptionColumns);
  parser.app.footer(fmt::format("{}{}", kRootFooter, kExitCodeHelp));
  parser.groups = groups;
  for (const Command* command : commands) DeclareCommand(*command, parser);
}

// Levenshtein distance, for "did you mean".
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// A word where a command should stand that is none: CLI11 would only call it unexpected.
absl::Status CheckCommandWords(const std::vector<std::string>& arguments, const CLI::App& root) {
  const CLI::App* app = &root;
  std::string path = "choir";
  for (const std::string& word : arguments) {
    const auto children =
        app->get_subcommands([](const CLI::App* child) { return !child->get_name().empty(); });
    if (children.empty() || word.empty() || word[0] == '-') break;
    const CLI::App* next = nullptr;
    const CLI::App* closest = children.front();
    for (const CLI::App* child : children) {
      if (child->get_name() == word) next = child;
      if (EditDistance(word, child->get_name()) < EditDistance(word, closest->get_name())) {
        closest = child;
      }
    }
    if (next == nullptr) {
      const bool near = EditDistance(word, closest->get_name()) <= 2;
      return UsageError(fmt::format("there is no command `{} {}`", path, word),
                        near ? fmt::format("did you mean `{} {}`?", path, closest->get_name())
                             : fmt::format("`{} --help` lists the commands", path));
    }
    app = next;
    path += " " + word;
  }
  return absl::OkStatus();
}

// The command, or group, that the words chose.
const CLI::App* Chosen(const CLI::App& root) {
  const CLI::App* app = &root;
  for (bool deeper = true; deeper;) {
    deeper = false;
    for (const CLI::App* child : app->get_subcommands()) {
      if (child->get_name().empty()) continue;
      app = child;
      deeper = true;
      break;
    }
  }
  return app;
}

std::string PathOf(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : fmt::format("{} {}", PathOf(*parent), app.get_name());
}

std::string ParentPathOf(const CLI::App& app) {
  return app.get_parent() == nullptr ? "" : PathOf(*app.get_parent());
}

int ReportParseError(const CLI::ParseError& error, const Parser& parser, Environment& environment) {
  const CLI::App* app = Chosen(parser.app);
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    if (dynamic_cast<const CLI::CallForVersion*>(&error) != nullptr) {
      environment.output.Line(error.what());
    } else {
      environment.output.Piece(HelpOf(parser.app, ""));
    }
    return static_cast<int>(ExitCode::kOk);
  }
  const bool no_command =
      dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
      !app->get_subcommands([](const CLI::App* child) { return !child->get_name().empty(); })
           .empty();
  if (no_command) {
    environment.output.RawErr(HelpOf(*app, ParentPathOf(*app)));
    return static_cast<int>(ExitCode::kUsage);
  }
  environment.output.Error(
      UsageError(error.what(), fmt::format("`{} --help` shows the options", PathOf(*app))));
  return static_cast<int>(ExitCode::kUsage);
}

void Apply(const CommonOptions& common, Output& output) {
  output.set_json(common.json);
  output.set_quiet(common.quiet);
  if (common.colour != "auto") output.set_colour(common.colour == "always");
}

}  // namespace

CLI::Validator OneOf(std::vector<std::string> words) {
  // CLI11 would print the words again behind the option's type.
  return CLI::IsMember(std::move(words)).description("");
}

int RunApplication(std::vector<std::string> arguments, std::span<const Command* const> commands,
                   std::span<const CommandGroup> groups, Environment& environment) {
  Parser parser;
  Declare(commands, groups, parser);
  if (const absl::Status status = CheckCommandWords(arguments, parser.app); !status.ok()) {
    environment.output.Error(status);
    return static_cast<int>(ExitCodeOf(status));
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    parser.app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    Apply(parser.common, environment.output);
    return ReportParseError(error, parser, environment);
  }
  Apply(parser.common, environment.output);
  for (const auto& [app, action] : parser.actions) {
    if (!app->parsed()) continue;
    const absl::Status status = action(environment);
    if (!status.ok()) environment.output.Error(status);
    return static_cast<int>(ExitCodeOf(status));
  }
  return static_cast<int>(ExitCode::kUsage);
}

}  // namespace choir::cli
