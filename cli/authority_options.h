#ifndef CHOIR_CLI_AUTHORITY_OPTIONS_H_
#define CHOIR_CLI_AUTHORITY_OPTIONS_H_

// Where the authority's key is, and how it is opened.

#include <string>

#include "absl/status/statusor.h"

#include "CLI/CLI.hpp"
#include "proto/trust/authority.h"

namespace choir::cli {

struct AuthorityOptions {
  std::string dir = "choir-authority";
  std::string passphrase_file;
};
// --authority, --passphrase-file.
void AddAuthorityOptions(CLI::App& app, AuthorityOptions& options);
absl::StatusOr<trust::Authority> OpenAuthority(const AuthorityOptions& options);

// The file's text without its line end; an empty path gives an empty passphrase.
absl::StatusOr<std::string> ReadPassphrase(const std::string& path);

}  // namespace choir::cli

#endif  // CHOIR_CLI_AUTHORITY_OPTIONS_H_
