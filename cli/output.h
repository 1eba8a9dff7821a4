#ifndef CHOIR_CLI_OUTPUT_H_
#define CHOIR_CLI_OUTPUT_H_

// Where a command's words go. The result is on stdout: text, or with --json one JSON value (a line
// each for streams). Everything else (what is going on, progress, errors) is on stderr.

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include <fmt/format.h>

#include "cli/terminal.h"
#include "nlohmann/json.hpp"

namespace choir::cli {

enum class Style : uint8_t { kPlain, kBold, kDim, kGood, kWarning, kError };

// Not thread-safe. Writes are flushed at once.
class Output {
 public:
  // Streams stay the caller's.
  Output(std::FILE* out, std::FILE* err, Terminal out_terminal, Terminal err_terminal)
      : out_(out), err_(err), out_terminal_(out_terminal), err_terminal_(err_terminal) {}

  void set_json(bool json) { json_ = json; }
  void set_quiet(bool quiet) { quiet_ = quiet; }
  void set_colour(bool colour) { out_terminal_.colour = err_terminal_.colour = colour; }
  [[nodiscard]] bool json() const { return json_; }
  [[nodiscard]] bool quiet() const { return quiet_; }
  [[nodiscard]] const Terminal& err_terminal() const { return err_terminal_; }
  [[nodiscard]] const Terminal& out_terminal() const { return out_terminal_; }

  // The result for people: a line on stdout; nothing with --json.
  void Line(std::string_view text);
  // The same without a line end, for text that comes in pieces.
  void Piece(std::string_view text);
  // The result for programs: a line on stdout, only with --json. Invalid UTF-8 becomes U+FFFD.
  void Json(const nlohmann::json& value);

  // What is going on: a line on stderr; nothing with --quiet.
  void Note(std::string_view text);
  void Warning(std::string_view text);
  // "choir: error: ..." and, if it has one, "choir: hint: ..."; with --json also {"error": ...}.
  void Error(const absl::Status& status);

  // `text` in a style for stdout or stderr; unchanged where colour is off.
  [[nodiscard]] std::string Styled(Style style, std::string_view text) const;
  [[nodiscard]] std::string StyledErr(Style style, std::string_view text) const;

  // For ProgressBar: raw text on stderr.
  void RawErr(std::string_view text);
  // A line drawn by a progress bar stands on the terminal: clear it before the next words.
  void set_transient_line(bool drawn) { transient_line_ = drawn; }

 private:
  void ClearTransientLine();

  std::FILE* out_;
  std::FILE* err_;
  Terminal out_terminal_;
  Terminal err_terminal_;
  bool json_ = false;
  bool quiet_ = false;
  bool transient_line_ = false;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_OUTPUT_H_
