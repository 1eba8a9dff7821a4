#include "cli/authority_options.h"

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/failure.h"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxPassphraseBytes = 4096;

}  // namespace

void AddAuthorityOptions(CLI::App& app, AuthorityOptions& options) {
  app.add_option("--authority", options.dir, "Folder with the authority's key")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--passphrase-file", options.passphrase_file,
                 "Opens the authority's key with this file's first line")
      ->type_name("FILE");
}

absl::StatusOr<std::string> ReadPassphrase(const std::string& path) {
  if (path.empty()) return std::string();
  absl::StatusOr<std::string> text = ReadFile(path, kMaxPassphraseBytes);
  if (!text.ok()) return BadInput("passphrase file", path, text.status());
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  if (text->empty()) {
    return BadInput("passphrase file", path, absl::InvalidArgumentError("it is empty"));
  }
  return text;
}

absl::StatusOr<trust::Authority> OpenAuthority(const AuthorityOptions& options) {
  CHOIR_ASSIGN_OR_RETURN(const std::string passphrase, ReadPassphrase(options.passphrase_file));
  absl::StatusOr<trust::Authority> authority = trust::Authority::Open(options.dir, passphrase);
  if (authority.ok()) return authority;
  return BadInput("authority", options.dir, authority.status(),
                  absl::IsNotFound(authority.status())
                      ? "name the folder that `choir federation init` made: --authority DIR"
                      : "a key with a passphrase is opened with --passphrase-file FILE");
}

}  // namespace choir::cli
