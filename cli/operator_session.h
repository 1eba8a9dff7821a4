#ifndef CHOIR_CLI_OPERATOR_SESSION_H_
#define CHOIR_CLI_OPERATOR_SESSION_H_

// An operator's connection to the coordinator, from the folder that `choir federation init` made.

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "CLI/CLI.hpp"
#include "base/sha256.h"
#include "choir/v1/operator.grpc.pb.h"
#include "cli/command.h"

namespace choir::cli {

// $CHOIR_OPERATOR, else ~/.config/choir/operator.
std::string DefaultOperatorDir();

struct OperatorOptions {
  std::string dir = DefaultOperatorDir();
  std::string address;  // empty: the one in operator.toml
};
// --operator, --address.
void AddOperatorOptions(CLI::App& app, OperatorOptions& options);

class OperatorSession {
 public:
  // NOT_FOUND: no operator's credentials there (says how to get some). Does not call anybody yet.
  // Warns if the operator's certificate ends soon.
  static absl::StatusOr<OperatorSession> Open(const OperatorOptions& options,
                                              Environment& environment);

  // Calls with a deadline; errors name the coordinator's address.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::OperatorService::Stub::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request) const {
    grpc::ClientContext context;
    SetDeadline(context);
    Response response;
    const absl::Status status = Explain((stub_.get()->*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }

  // Sends a file, from where an earlier try stopped. `progress(done, total)`.
  absl::Status UploadFile(const std::string& path, const Digest& digest,
                          absl::FunctionRef<void(uint64_t, uint64_t)> progress) const;
  // The whole blob, in memory, checked against its hash.
  absl::StatusOr<std::string> FetchBlob(const Digest& digest) const;
  // Calls `seen` with the run's status at every change, until it ends or `seen` returns false.
  absl::Status WatchRun(const std::string& run_id,
                        absl::FunctionRef<bool(const v1::RunStatus&)> seen) const;

  [[nodiscard]] const std::string& federation() const { return federation_; }
  [[nodiscard]] const std::string& root_pem() const { return root_pem_; }

 private:
  static void SetDeadline(grpc::ClientContext& context);
  absl::Status Explain(const grpc::Status& status) const;

  std::string address_;
  std::string federation_;
  std::string root_pem_;
  std::unique_ptr<v1::OperatorService::Stub> stub_;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_OPERATOR_SESSION_H_
