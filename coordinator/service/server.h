#ifndef CHOIR_COORDINATOR_SERVICE_SERVER_H_
#define CHOIR_COORDINATOR_SERVICE_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "base/clock.h"
#include "base/random.h"
#include "coordinator/server_options.h"

namespace choir::coordinator {

// A running coordinator: store, blobs, services on two ports, and the thread that moves time and
// does long work. Stops, cleanly, on destruction.
class Server {
 public:
  // Locks the data folder (UNAVAILABLE: another coordinator runs in it), continues its runs,
  // listens, and writes DATA/endpoints.json. `clock` and `random` must outlive it.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       const Clock& clock, RandomSource& random);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // "host:port" with the real ports, as a node would reach them.
  [[nodiscard]] const std::string& address() const;
  [[nodiscard]] const std::string& enrol_address() const;
  [[nodiscard]] const std::string& federation_name() const;

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_SERVER_H_
