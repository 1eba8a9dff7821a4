#ifndef CHOIR_NODE_LEDGER_LEDGER_H_
#define CHOIR_NODE_LEDGER_LEDGER_H_

// What left this device, for its owner to read, and what that cost in privacy: an append-only,
// hash- chained file (ledger_lines.h). A masked input is written down, and flushed, before its
// first byte leaves; what became of it follows, checked against the coordinator's signed result.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "privacy/accountant.h"

namespace choir::node {

struct Departure {
  absl::Time time;
  std::string run_id;
  uint64_t round = 0;
  std::string session_hex;
  uint64_t masked_bytes = 0;
  std::string input_hash_hex;   // H(y): SHA-256 chain of what was sent
  std::vector<uint8_t> config;  // the signed SessionConfig, as the coordinator sent it
  double delta = 1e-5;          // at which `epsilon` is said
  // All departures up to this one; infinite once something left without noise.
  double epsilon = 0;
  // From the configuration.
  std::string mechanism;
  double noise_multiplier = 0;
  double clip_norm = 0;
  // What became of it: empty while that is open.
  std::string outcome;
  bool in_the_sum = false;
  std::string result_hash_hex;  // of the signed RoundResult that was checked
  uint64_t contributors = 0;
  double stated_epsilon = 0;  // what the coordinator says the run has cost
};

struct Outcome {
  absl::Time time;
  std::string text;  // "in the sum", or why not
  bool in_the_sum = false;
  std::string result_hash_hex;
  uint64_t contributors = 0;
  double stated_epsilon = 0;
};

// Not thread-safe; one writer a file. Reading while a daemon writes is fine.
class Ledger {
 public:
  // Reads and checks the whole chain; an absent ledger is empty. DATA_LOSS (kDamagedLedger) if a
  // line is changed, missing or cut off: it is never begun anew.
  static absl::StatusOr<Ledger> Open(const std::string& path);

  // Before the first byte of the input leaves. Fills in epsilon and what the configuration says.
  // Once a session: fine if it is there already. INVALID_ARGUMENT for a configuration that does not
  // decode.
  absl::Status NoteDeparture(Departure departure);
  // Once a session; fine if it is there already, or if nothing left in that session.
  absl::Status NoteOutcome(const std::string& session_hex, const Outcome& outcome);

  [[nodiscard]] const std::vector<Departure>& departures() const { return departures_; }
  // What all departures, or those of one run, cost together.
  [[nodiscard]] privacy::RdpCurve Spent() const { return spent_; }
  [[nodiscard]] absl::StatusOr<privacy::RdpCurve> SpentIn(const std::string& run_id) const;

 private:
  explicit Ledger(std::string path) : path_(std::move(path)) {}
  absl::Status Take(const std::string& entry);
  absl::Status Append(const std::string& entry);
  Departure* Find(const std::string& session_hex);

  std::string path_;
  std::vector<Departure> departures_;
  privacy::RdpCurve spent_;
  uint64_t lines_ = 0;
  uint64_t good_bytes_ = 0;
  std::array<uint8_t, 32> last_hash_{};
};

// What a session with this encoded configuration costs; infinite without noise. INVALID_ARGUMENT or
// DATA_LOSS if it does not decode or has no plan.
absl::StatusOr<privacy::RdpCurve> CostOfConfig(std::span<const uint8_t> config);

}  // namespace choir::node

#endif  // CHOIR_NODE_LEDGER_LEDGER_H_
