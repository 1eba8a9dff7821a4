#include "cli/failure.h"

#include <optional>

#include "absl/strings/cord.h"
#include <fmt/format.h>

namespace choir::cli {
namespace {

constexpr const char* kHintKey = "choir.dev/hint";
constexpr const char* kExitKey = "choir.dev/exit";

void SetExit(absl::Status& status, ExitCode code) {
  status.SetPayload(kExitKey, absl::Cord(std::to_string(static_cast<int>(code))));
}

std::string PayloadOf(const absl::Status& status, const char* key) {
  const auto payload = status.GetPayload(key);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

absl::Status UsageError(std::string_view message, std::string_view hint) {
  absl::Status status = absl::InvalidArgumentError({message.data(), message.size()});
  SetExit(status, ExitCode::kUsage);
  return hint.empty() ? status : WithHint(status, hint);
}

absl::Status BadInput(std::string_view what, std::string_view path, const absl::Status& status,
                      std::string_view hint) {
  if (status.ok()) return status;
  std::string message = MessageOf(status);
  const bool has_path = message.find(path) != std::string::npos;
  message = has_path ? fmt::format("{}: {}", what, message)
                     : fmt::format("{} {}: {}", what, path, message);
  absl::Status result(status.code(), message);
  const bool not_the_file = absl::IsCancelled(status) || absl::IsUnavailable(status) ||
                            absl::IsResourceExhausted(status) || absl::IsInternal(status);
  SetExit(result, not_the_file ? ExitCodeOf(status) : ExitCode::kBadInput);
  const std::string own_hint = HintOf(status);
  if (!own_hint.empty()) return WithHint(result, own_hint);
  return hint.empty() ? result : WithHint(result, hint);
}

absl::Status WithHint(absl::Status status, std::string_view hint) {
  if (!status.ok()) status.SetPayload(kHintKey, absl::Cord({hint.data(), hint.size()}));
  return status;
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return ExitCode::kOk;
  const std::string set = PayloadOf(status, kExitKey);
  if (!set.empty()) return static_cast<ExitCode>(std::stoi(set));
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return ExitCode::kInterrupted;
    case absl::StatusCode::kDataLoss:
      return ExitCode::kBadInput;
    case absl::StatusCode::kUnavailable:
      return ExitCode::kUnavailable;
    default:
      return ExitCode::kFailure;
  }
}

std::string HintOf(const absl::Status& status) {
  return PayloadOf(status, kHintKey);
}

std::string MessageOf(const absl::Status& status) {
  std::string result;
  for (const char c : status.message()) {
    if (c == '\n') {
      result += "; ";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      result += '?';  // a name from a hostile file must not drive the terminal
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace choir::cli
