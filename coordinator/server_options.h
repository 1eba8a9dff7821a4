#ifndef CHOIR_COORDINATOR_SERVER_OPTIONS_H_
#define CHOIR_COORDINATOR_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>

namespace choir::coordinator {

// Where a coordinator keeps its things and where it listens.
struct ServerOptions {
  std::string data;                           // the folder of choir federation init
  std::string listen = "0.0.0.0:7433";        // nodes and operators; port 0: any
  std::string enrol_listen = "0.0.0.0:7434";  // enrolment; port 0: any
  // What invites tell nodes, "host:port" or "host"; empty: as listened on (0.0.0.0: 127.0.0.1).
  std::string public_address;
  std::string enrol_public_address;
  // Adapters of a run that are kept, the newest; 0: all. And how long a blob that nothing needs any
  // more stays (service/retention.h).
  uint32_t keep_versions = 20;
  uint32_t unused_blob_hours = 7 * 24;
  // How long a new connection may take to finish TLS before it is closed.
  uint32_t handshake_s = 30;
  // The program that evaluates for the gates of runs (gate/evaluation_process.h); not a setting.
  std::string evaluator;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVER_OPTIONS_H_
