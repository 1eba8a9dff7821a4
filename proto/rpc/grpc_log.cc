#include "proto/rpc/grpc_log.h"

#include <cstdlib>

#include <grpc/support/log.h>

namespace choir::rpc {

void QuietGrpcLog() {
  if (std::getenv("GRPC_VERBOSITY") != nullptr) return;
  gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace choir::rpc
