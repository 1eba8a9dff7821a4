#include "node/task/round_counter.h"

#include <charconv>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"

namespace choir::node {

absl::StatusOr<uint64_t> ReadRoundCounter(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 32);
  if (absl::IsNotFound(text.status())) return 0;
  if (!text.ok()) return text.status();
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    return absl::DataLossError(fmt::format(
        "{} is damaged: this node cannot tell old sessions from new ones. Enrol it again "
        "in a new home.",
        path));
  }
  return value;
}

absl::Status RaiseRoundCounter(const std::string& path, uint64_t counter) {
  CHOIR_ASSIGN_OR_RETURN(const uint64_t last, ReadRoundCounter(path));
  if (counter < last) {
    return absl::FailedPreconditionError(
        fmt::format("the session counter would go back from {} to {}", last, counter));
  }
  return AtomicWriteSecretFile(path, fmt::format("{}", counter));
}

}  // namespace choir::node
