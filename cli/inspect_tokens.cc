// `choir inspect tokens`: the token ids of a text, as the engine sees it.

#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/failure.h"
#include "engine/tokenizer/tokenizer.h"

namespace choir::cli {
namespace {

struct Options {
  std::string model;
  std::string text;
  bool special = false;
  bool parse_special = false;
};

absl::Status Run(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const engine::GgufFile file, OpenModelFile(options.model));
  const auto tokenizer = engine::LoadTokenizer(file);
  if (!tokenizer.ok()) {
    return BadInput("model", options.model, tokenizer.status());
  }
  engine::EncodeOptions encode;
  encode.add_special = options.special;
  encode.parse_special = options.parse_special;
  CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                         (*tokenizer)->Encode(options.text, encode));
  nlohmann::json pieces = nlohmann::json::array();
  for (const int32_t id : ids) {
    CHOIR_ASSIGN_OR_RETURN(const std::string piece, (*tokenizer)->Piece(id));
    pieces.push_back(piece);
  }
  environment.output.Json({{"ids", ids}, {"pieces", std::move(pieces)}});
  environment.output.Line(nlohmann::json(ids).dump());
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddModelOption(app, options->model);
  app.add_option("--text", options->text, "The text")->required()->type_name("TEXT");
  app.add_flag("--special", options->special, "With BOS and EOS where the model asks for them");
  app.add_flag("--parse-special", options->parse_special,
               "Recognise control tokens that are written out in the text");
  app.footer(
      "Prints a JSON array of ids; with --json an object with \"ids\" and \"pieces\".\n\n"
      "Examples:\n"
      "  choir inspect tokens --model base.gguf --text \"Once upon a time\"\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kInspectTokensCommand = {"inspect tokens", "Token ids of a text", &Declare};

}  // namespace choir::cli
