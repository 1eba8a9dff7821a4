#ifndef CHOIR_BENCH_SECURE_AGG_SESSION_H_
#define CHOIR_BENCH_SECURE_AGG_SESSION_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

#include "secure-agg/core/messages.h"

// A whole session with simulated nodes in one process: real ClientSessions and a real
// ServerSession, every message encoded and decoded, nothing on a wire. Masked inputs go into the
// sum one after the other and are forgotten, so that memory is that of the sessions and of one
// vector a thread.
namespace choir::bench {

struct SessionPlan {
  uint32_t nodes = 100;
  uint64_t words = 1'000'000;
  secagg::GraphKind graph = secagg::GraphKind::kComplete;
  secagg::Prg prg = secagg::Prg::kChaCha20;
  uint8_t corrupt_percent = 5;
  uint8_t dropout_percent = 20;
  // Of the nodes that are left, so many fall silent before each stage: keys, shares, input,
  // signature, unmasking.
  std::array<double, 5> silent{};
  uint64_t seed = 1;
  size_t threads = 1;
  bool check_sum = true;  // against the plain sum, bit for bit
};

struct SessionFigures {
  uint32_t cohort = 0;  // nodes that advertised
  uint32_t degree = 0;
  uint32_t threshold = 0;
  uint32_t contributors = 0;
  bool complete = false;        // the sum is there
  bool exact = false;           // and is the plain one
  std::string aborted;          // else why not
  double client_setup_ms = 0;   // keys, shares, signature, answer: one node's, without its masking
  double client_mask_ms = 0;    // one node's encoding and masking
  double server_ingest_ms = 0;  // one input
  double server_other_ms = 0;   // all else of the coordinator but unmasking
  double server_unmask_ms = 0;
  double stream_share =
      0;                // of the masking and unmasking time, what the bare key stream would take
  double bytes_up = 0;  // of one contributor
  double bytes_down = 0;
  double total_seconds = 0;
  double peak_mib = 0;  // of the process, so far
};

absl::StatusOr<SessionFigures> RunSession(const SessionPlan& plan);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_SECURE_AGG_SESSION_H_
