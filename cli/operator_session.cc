#include "cli/operator_session.h"

#include <toml++/toml.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/failure.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/certificates.h"
#include "proto/trust/expiry.h"
#include "proto/trust/keys.h"

namespace choir::cli {
namespace {

constexpr auto kCallTimeout = std::chrono::seconds(20);
constexpr auto kTransferTimeout = std::chrono::minutes(30);
constexpr auto kReconnectPause = std::chrono::milliseconds(500);
constexpr int kReconnectTries = 60;
constexpr uint64_t kMaxSmallFile = 1 << 20;
constexpr uint64_t kMaxBlobInMemory = uint64_t{4} << 30;
constexpr size_t kChunkBytes = size_t{1} << 20;

struct OperatorFile {
  std::string federation;
  std::string address;
};

absl::StatusOr<OperatorFile> ReadOperatorFile(const std::string& dir) {
  const std::string path = dir + "/operator.toml";
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxSmallFile);
  if (absl::IsNotFound(text.status())) {
    return WithHint(
        absl::NotFoundError(fmt::format("{} holds no operator's credentials", dir)),
        "`choir federation init` makes them; name their folder with --operator or $CHOIR_OPERATOR");
  }
  if (!text.ok()) return text.status();
  try {
    const toml::table table = toml::parse(*text, path);
    return OperatorFile{table["federation"].value_or(std::string()),
                        table["address"].value_or(std::string())};
  } catch (const toml::parse_error& error) {
    return BadInput("operator file", path,
                    absl::InvalidArgumentError(std::string(error.description())));
  }
}

// A connection with a certificate that has ended fails without a word of why.
absl::Status CheckEnd(const std::string& certificate, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const trust::CertificateInfo info, trust::ParseCertificate(certificate));
  const std::string warning =
      trust::ExpiryWarning("the operator's certificate", info.not_after, environment.clock.Now());
  if (!warning.empty()) environment.output.Warning(warning + ": `choir federation renew`");
  return absl::OkStatus();
}

}  // namespace

std::string DefaultOperatorDir() {
  if (const char* set = std::getenv("CHOIR_OPERATOR"); set != nullptr && *set != '\0') return set;
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : ".") + "/.config/choir/operator";
}

void AddOperatorOptions(CLI::App& app, OperatorOptions& options) {
  app.add_option("--operator", options.dir, "Folder of the operator's credentials")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--address", options.address, "The coordinator, instead of operator.toml's")
      ->type_name("HOST:PORT");
}

absl::StatusOr<OperatorSession> OperatorSession::Open(const OperatorOptions& options,
                                                      Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const OperatorFile file, ReadOperatorFile(options.dir));
  OperatorSession session;
  session.federation_ = file.federation;
  session.address_ = options.address.empty() ? file.address : options.address;
  CHOIR_ASSIGN_OR_RETURN(session.root_pem_, ReadFile(options.dir + "/root.pem", kMaxSmallFile));
  CHOIR_ASSIGN_OR_RETURN(const std::string certificate,
                         ReadFile(options.dir + "/operator.pem", kMaxSmallFile));
  CHOIR_RETURN_IF_ERROR(CheckEnd(certificate, environment));
  CHOIR_ASSIGN_OR_RETURN(const trust::SigningKey key,
                         trust::SigningKey::Load(options.dir + "/operator.key", ""));
  const rpc::TlsIdentity identity{certificate, key.ToPkcs8Pem()};
  session.stub_ = v1::OperatorService::NewStub(
      rpc::OpenChannel(session.address_, session.root_pem_, &identity));
  return session;
}

void OperatorSession::SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
}

absl::Status OperatorSession::Explain(const grpc::Status& status) const {
  absl::Status plain = rpc::FromGrpc(status);
  if (!absl::IsUnavailable(plain) && !absl::IsDeadlineExceeded(plain)) return plain;
  return WithHint(absl::UnavailableError(fmt::format("the coordinator at {} does not answer: {}",
                                                     address_, std::string(plain.message()))),
                  "is choir-coordinator running there? --address names another place");
}

absl::Status OperatorSession::UploadFile(
    const std::string& path, const Digest& digest,
    absl::FunctionRef<void(uint64_t, uint64_t)> progress) const {
  v1::StatBlobRequest stat;
  stat.set_digest(std::string(AsChars(digest)));
  CHOIR_ASSIGN_OR_RETURN(const v1::StatBlobResponse there,
                         Call(&v1::OperatorService::Stub::StatBlob, stat));
  if (there.complete()) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return BadInput("file", path, ErrnoStatus("cannot open it"));
  const auto total = static_cast<uint64_t>(file.tellg());
  uint64_t offset = there.stored_bytes() <= total ? there.stored_bytes() : 0;
  file.seekg(static_cast<std::streamoff>(offset));

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTransferTimeout);
  v1::UploadBlobResponse response;
  const auto writer = stub_->UploadBlob(&context, &response);
  v1::UploadBlobRequest request;
  request.set_digest(std::string(AsChars(digest)));
  request.set_total_bytes(total);
  std::string buffer(kChunkBytes, '\0');
  do {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    request.set_offset(offset);
    request.set_data(buffer.substr(0, static_cast<size_t>(file.gcount())));
    offset += request.data().size();
    if (!writer->Write(request)) break;
    progress(offset, total);
  } while (offset < total && file.gcount() > 0);
  writer->WritesDone();
  CHOIR_RETURN_IF_ERROR(Explain(writer->Finish()));
  if (response.complete()) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("the coordinator has {} of {} bytes of {}: try again",
                                            response.stored_bytes(), total, path));
}

absl::StatusOr<std::string> OperatorSession::FetchBlob(const Digest& digest) const {
  v1::FetchBlobRequest request;
  request.set_digest(std::string(AsChars(digest)));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTransferTimeout);
  const auto reader = stub_->FetchBlob(&context, request);
  std::string bytes;
  v1::BlobChunk chunk;
  while (bytes.size() <= kMaxBlobInMemory && reader->Read(&chunk)) bytes += chunk.data();
  if (bytes.size() > kMaxBlobInMemory) {
    context.TryCancel();
    static_cast<void>(reader->Finish());
    return absl::ResourceExhaustedError("the blob is larger than 4 GiB");
  }
  CHOIR_RETURN_IF_ERROR(Explain(reader->Finish()));
  if (Sha256Of(std::string_view(bytes)) != digest) {
    return absl::DataLossError(
        fmt::format("what the coordinator sent is not blob {}", DigestToHex(digest)));
  }
  return bytes;
}

absl::Status OperatorSession::WatchRun(const std::string& run_id,
                                       absl::FunctionRef<bool(const v1::RunStatus&)> seen) const {
  absl::Status status;
  // The coordinator may restart in between: the stream is opened again.
  for (int i = 0; i < kReconnectTries; ++i) {
    v1::WatchRunRequest request;
    request.set_run_id(run_id);
    grpc::ClientContext context;
    const auto reader = stub_->WatchRun(&context, request);
    v1::RunStatus run;
    while (reader->Read(&run)) {
      i = 0;
      if (seen(run)) continue;
      context.TryCancel();
      static_cast<void>(reader->Finish());
      return absl::OkStatus();
    }
    status = Explain(reader->Finish());
    if (status.ok() || !absl::IsUnavailable(status)) return status;
    std::this_thread::sleep_for(kReconnectPause);
  }
  return status;
}

}  // namespace choir::cli
