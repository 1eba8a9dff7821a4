#include "base/sha256.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/check.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"

namespace choir {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() {
    CHOIR_CHECK(context != nullptr);
    CHOIR_CHECK(EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1);
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::Update(std::span<const uint8_t> bytes) {
  CHOIR_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
  return *this;
}

Sha256& Sha256::Update(std::string_view bytes) {
  CHOIR_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
  return *this;
}

Sha256& Sha256::UpdateU64(uint64_t value) {
  std::array<uint8_t, 8> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  return Update(bytes);
}

Digest Sha256::Finish() const {
  State copy;
  CHOIR_CHECK(EVP_MD_CTX_copy_ex(copy.context, state_->context) == 1);
  Digest digest;
  unsigned size = 0;
  CHOIR_CHECK(EVP_DigestFinal_ex(copy.context, digest.data(), &size) == 1 && size == digest.size());
  return digest;
}

Digest Sha256Of(std::span<const uint8_t> bytes) {
  return Sha256().Update(bytes).Finish();
}

Digest Sha256Of(std::string_view bytes) {
  return Sha256().Update(bytes).Finish();
}

absl::StatusOr<Digest> Sha256OfFile(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return ErrnoStatus(fmt::format("cannot open {}", path));
  Sha256 hash;
  std::vector<uint8_t> buffer(size_t{1} << 18);
  size_t n = 0;
  while ((n = std::fread(buffer.data(), 1, buffer.size(), file)) > 0) {
    hash.Update(std::span<const uint8_t>(buffer.data(), n));
  }
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) return absl::DataLossError(fmt::format("cannot read {}", path));
  return hash.Finish();
}

std::string DigestToHex(const Digest& digest) {
  return HexEncode(digest);
}

absl::StatusOr<Digest> DigestFromHex(std::string_view text) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, HexDecode(text));
  Digest digest;
  if (bytes.size() != digest.size()) {
    return absl::InvalidArgumentError(
        fmt::format("a SHA-256 digest has 64 hexadecimal digits, got {}", text.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

}  // namespace choir
