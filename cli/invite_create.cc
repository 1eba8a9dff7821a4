// `choir invite create`: a short-lived, single-use string with which one device joins.

#include <qrencode.h>

#include <memory>
#include <string>

#include "absl/time/time.h"
#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/operator_session.h"

namespace choir::cli {
namespace {

struct Options {
  OperatorOptions connection;
  std::string valid = "1h";
  bool qr = false;
};

// Two modules a character cell, with the quiet zone that scanners need.
absl::StatusOr<std::string> DrawQrCode(const std::string& text) {
  constexpr int kQuiet = 2;
  const std::unique_ptr<QRcode, decltype(&QRcode_free)> code(
      QRcode_encodeString(text.c_str(), 0, QR_ECLEVEL_L, QR_MODE_8, 1), &QRcode_free);
  if (code == nullptr) return absl::InternalError("the invite does not fit a QR code");
  const auto dark = [&code](int x, int y) {
    return x >= 0 && y >= 0 && x < code->width && y < code->width &&
           (code->data[y * code->width + x] & 1) != 0;
  };
  std::string picture;
  for (int y = -kQuiet; y < code->width + kQuiet; y += 2) {
    for (int x = -kQuiet; x < code->width + kQuiet; ++x) {
      constexpr const char* kCells[] = {"█", "▀", "▄", " "};  // light on dark
      picture += kCells[(dark(x, y) ? 2 : 0) + (dark(x, y + 1) ? 1 : 0)];
    }
    picture += "\n";
  }
  return picture;
}

absl::Status Run(const Options& options, Environment& environment) {
  absl::Duration valid;
  if (!absl::ParseDuration(options.valid, &valid) || valid < absl::Minutes(1) ||
      valid > absl::Hours(7 * 24)) {
    return UsageError(
        fmt::format("--valid {}: use a time from 1m to 168h, such as 30m", options.valid));
  }
  CHOIR_ASSIGN_OR_RETURN(const OperatorSession session,
                         OperatorSession::Open(options.connection, environment));
  v1::CreateInviteRequest request;
  request.set_valid_s(static_cast<uint32_t>(absl::ToInt64Seconds(valid)));
  CHOIR_ASSIGN_OR_RETURN(const v1::CreateInviteResponse response,
                         session.Call(&v1::OperatorService::Stub::CreateInvite, request));
  Output& output = environment.output;
  output.Json({{"invite", response.invite()}, {"not_after_unix_s", response.not_after_unix_s()}});
  output.Line(response.invite());
  if (options.qr && !output.json()) {
    CHOIR_ASSIGN_OR_RETURN(const std::string picture, DrawQrCode(response.invite()));
    output.Piece(picture);
  }
  output.Note(fmt::format(
      "For one device, until {}: choir node enrol INVITE --data FOLDER",
      absl::FormatTime("%H:%M on %d %b", absl::FromUnixSeconds(response.not_after_unix_s()),
                       absl::LocalTimeZone())));
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddOperatorOptions(app, options->connection);
  app.add_option("--valid", options->valid, "How long it may be used: 1m to 168h")
      ->capture_default_str();
  app.add_flag("--qr", options->qr, "Also as a QR code, for a phone's camera");
  app.footer(
      "Examples:\n"
      "  choir invite create\n"
      "  choir invite create --valid 15m --qr\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kInviteCreateCommand = {"invite create", "Invite one device to the federation",
                                      &Declare};

}  // namespace choir::cli
