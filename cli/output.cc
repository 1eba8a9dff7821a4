#include "cli/output.h"

#include "cli/failure.h"

namespace choir::cli {
namespace {

std::string_view Escape(Style style) {
  switch (style) {
    case Style::kPlain:
      return "";
    case Style::kBold:
      return "\x1b[1m";
    case Style::kDim:
      return "\x1b[2m";
    case Style::kGood:
      return "\x1b[32m";
    case Style::kWarning:
      return "\x1b[33m";
    case Style::kError:
      return "\x1b[1;31m";
  }
  return "";
}

std::string Paint(bool colour, Style style, std::string_view text) {
  if (!colour || style == Style::kPlain) return std::string(text);
  return fmt::format("{}{}\x1b[0m", Escape(style), text);
}

// A reader that went away (`choir ... | head`) shows up as SIGPIPE or at exit: not here.
void Write(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

}  // namespace

void Output::Line(std::string_view text) {
  if (json_) return;
  ClearTransientLine();
  Write(out_, fmt::format("{}\n", text));
}

void Output::Piece(std::string_view text) {
  if (json_) return;
  ClearTransientLine();
  Write(out_, text);
}

void Output::Json(const nlohmann::json& value) {
  if (!json_) return;
  ClearTransientLine();
  Write(out_, value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void Output::Note(std::string_view text) {
  if (quiet_) return;
  ClearTransientLine();
  Write(err_, fmt::format("{}\n", text));
}

void Output::Warning(std::string_view text) {
  ClearTransientLine();
  Write(err_, fmt::format("choir: {} {}\n", StyledErr(Style::kWarning, "warning:"), text));
}

void Output::Error(const absl::Status& status) {
  ClearTransientLine();
  const std::string message = MessageOf(status);
  const std::string hint = HintOf(status);
  // Who pressed Ctrl-C made no error.
  const bool interrupted = ExitCodeOf(status) == ExitCode::kInterrupted;
  const std::string head =
      interrupted ? StyledErr(Style::kWarning, "interrupted:") : StyledErr(Style::kError, "error:");
  Write(err_, fmt::format("choir: {} {}\n", head, message));
  if (!hint.empty()) {
    Write(err_, fmt::format("choir: {} {}\n", StyledErr(Style::kBold, "hint:"), hint));
  }
  nlohmann::json error = {{"exit_code", static_cast<int>(ExitCodeOf(status))},
                          {"message", message}};
  if (!hint.empty()) error["hint"] = hint;
  Json({{"error", std::move(error)}});
}

std::string Output::Styled(Style style, std::string_view text) const {
  return Paint(out_terminal_.colour, style, text);
}

std::string Output::StyledErr(Style style, std::string_view text) const {
  return Paint(err_terminal_.colour, style, text);
}

void Output::RawErr(std::string_view text) {
  Write(err_, text);
}

void Output::ClearTransientLine() {
  if (!transient_line_) return;
  transient_line_ = false;
  Write(err_, "\r\x1b[K");
}

}  // namespace choir::cli
