#include "node/ledger/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "node/ledger/ledger_lines.h"
#include "privacy/mechanism.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/codec.h"
#include <nlohmann/json.hpp>

namespace choir::node {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxLedgerBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxHeadBytes = 256;

absl::Status BadEntry(size_t line) {
  return secagg::Refusal(absl::StatusCode::kDataLoss, secagg::AbortReason::kDamagedLedger,
                         fmt::format("entry {} of the ledger makes no sense", line));
}

template <typename T>
T Get(const json& entry, const char* key, T fallback) {
  const auto it = entry.find(key);
  if (it == entry.end()) return fallback;
  if constexpr (std::is_same_v<T, std::string>) {
    return it->is_string() ? it->get<T>() : fallback;
  } else if constexpr (std::is_same_v<T, bool>) {
    return it->is_boolean() ? it->get<T>() : fallback;
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return it->is_number_unsigned() ? it->get<T>() : fallback;
  } else {
    return it->is_number() ? it->get<T>() : fallback;
  }
}

absl::Time TimeOf(const json& entry) {
  absl::Time time = absl::UnixEpoch();
  std::string ignored;
  (void)absl::ParseTime(absl::RFC3339_full, Get(entry, "time", std::string()), &time, &ignored);
  return time;
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

// JSON has no infinity: null means that nothing is promised.
json Number(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

void ReadConfig(const secagg::SessionConfig& config, Departure& out) {
  out.mechanism = std::string(privacy::MechanismName(config.privacy.mechanism));
  out.noise_multiplier = config.privacy.noise_multiplier;
  out.clip_norm = config.clip_norm;
}

std::string EntryOf(const Departure& d) {
  return json{{"kind", "left"},
              {"time", TimeText(d.time)},
              {"run", d.run_id},
              {"round", d.round},
              {"session", d.session_hex},
              {"masked_bytes", d.masked_bytes},
              {"input_hash", d.input_hash_hex},
              {"mechanism", d.mechanism},
              {"noise_multiplier", Number(d.noise_multiplier)},
              {"clip_norm", Number(d.clip_norm)},
              {"delta", d.delta},
              {"epsilon", Number(d.epsilon)},
              {"config", HexEncode(d.config)}}
      .dump();
}

absl::Status WriteAt(const std::string& path, uint64_t offset, std::string_view text) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(fmt::format("cannot open {}", path));
  const auto at = static_cast<off_t>(offset);
  // What a crash cut short was never acted upon.
  const bool written =
      ::ftruncate(fd, at) == 0 &&
      ::pwrite(fd, text.data(), text.size(), at) == static_cast<ssize_t>(text.size()) &&
      ::fsync(fd) == 0;
  const absl::Status status =
      written ? absl::OkStatus() : ErrnoStatus(fmt::format("cannot write {}", path));
  ::close(fd);
  return status;
}

absl::StatusOr<std::string> ReadOrEmpty(const std::string& path, uint64_t limit) {
  absl::StatusOr<std::string> text = ReadFile(path, limit);
  return absl::IsNotFound(text.status()) ? std::string() : std::move(text);
}

}  // namespace

absl::StatusOr<privacy::RdpCurve> CostOfConfig(std::span<const uint8_t> config) {
  CHOIR_ASSIGN_OR_RETURN(const secagg::SessionConfig decoded, secagg::DecodeSessionConfig(config));
  return secagg::CostOf(secagg::CodecOf(decoded));
}

absl::StatusOr<Ledger> Ledger::Open(const std::string& path) {
  Ledger ledger(path);
  // The head first: a daemon that writes meanwhile only makes the ledger longer.
  CHOIR_ASSIGN_OR_RETURN(const std::string head, ReadOrEmpty(path + ".head", kMaxHeadBytes));
  CHOIR_ASSIGN_OR_RETURN(const std::string text, ReadOrEmpty(path, kMaxLedgerBytes));
  CHOIR_ASSIGN_OR_RETURN(const LedgerLines lines, ReadLedgerLines(text, head));
  for (const std::string& entry : lines.entries) CHOIR_RETURN_IF_ERROR(ledger.Take(entry));
  ledger.last_hash_ = lines.last_hash;
  ledger.good_bytes_ = lines.good_bytes;
  return ledger;
}

Departure* Ledger::Find(const std::string& session_hex) {
  const auto it = std::ranges::find(departures_, session_hex, &Departure::session_hex);
  return it == departures_.end() ? nullptr : &*it;
}

// Takes an entry of the file, or one that was just written.
absl::Status Ledger::Take(const std::string& text) {
  ++lines_;
  const json entry = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const std::string kind = entry.is_object() ? Get(entry, "kind", std::string()) : "";
  const std::string session = entry.is_object() ? Get(entry, "session", std::string()) : "";
  if (kind == "ended") {
    Departure* departure = Find(session);
    if (departure == nullptr) return BadEntry(lines_);
    departure->outcome = Get(entry, "outcome", std::string());
    departure->in_the_sum = Get(entry, "in_the_sum", false);
    departure->result_hash_hex = Get(entry, "result_hash", std::string());
    departure->contributors = Get(entry, "contributors", uint64_t{0});
    departure->stated_epsilon = Get(entry, "stated_epsilon", 0.0);
    return absl::OkStatus();
  }
  Departure d;
  const absl::StatusOr<std::vector<uint8_t>> config =
      HexDecode(kind == "left" ? Get(entry, "config", std::string()) : "");
  if (kind != "left" || !config.ok() || Find(session) != nullptr) return BadEntry(lines_);
  d.config = *config;
  const absl::StatusOr<secagg::SessionConfig> decoded = secagg::DecodeSessionConfig(d.config);
  const absl::StatusOr<privacy::RdpCurve> cost = CostOfConfig(d.config);
  if (!decoded.ok() || !cost.ok()) return BadEntry(lines_);
  ReadConfig(*decoded, d);
  d.time = TimeOf(entry);
  d.run_id = Get(entry, "run", std::string());
  d.round = Get(entry, "round", uint64_t{0});
  d.session_hex = session;
  d.masked_bytes = Get(entry, "masked_bytes", uint64_t{0});
  d.input_hash_hex = Get(entry, "input_hash", std::string());
  d.delta = Get(entry, "delta", 0.0);
  d.epsilon = Get(entry, "epsilon", std::numeric_limits<double>::infinity());
  spent_ += *cost;
  departures_.push_back(std::move(d));
  return absl::OkStatus();
}

absl::Status Ledger::Append(const std::string& entry) {
  Digest hash{};
  const std::string line = LedgerLine(last_hash_, entry, hash);
  CHOIR_RETURN_IF_ERROR(WriteAt(path_, good_bytes_, line));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(path_ + ".head", LedgerHead(lines_ + 1, hash), 0600));
  last_hash_ = hash;
  good_bytes_ += line.size();
  return Take(entry);
}

absl::Status Ledger::NoteDeparture(Departure departure) {
  if (Find(departure.session_hex) != nullptr) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const secagg::SessionConfig config,
                         secagg::DecodeSessionConfig(departure.config));
  CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve cost, CostOfConfig(departure.config));
  privacy::RdpCurve after = spent_;
  after += cost;
  departure.epsilon = privacy::EpsilonOf(after, departure.delta);
  ReadConfig(config, departure);
  return Append(EntryOf(departure));
}

absl::Status Ledger::NoteOutcome(const std::string& session_hex, const Outcome& outcome) {
  const Departure* departure = Find(session_hex);
  if (departure == nullptr || !departure->outcome.empty()) return absl::OkStatus();
  const json entry = {{"kind", "ended"},
                      {"time", TimeText(outcome.time)},
                      {"session", session_hex},
                      {"outcome", outcome.text},
                      {"in_the_sum", outcome.in_the_sum},
                      {"result_hash", outcome.result_hash_hex},
                      {"contributors", outcome.contributors},
                      {"stated_epsilon", Number(outcome.stated_epsilon)}};
  return Append(entry.dump(-1, ' ', false, json::error_handler_t::replace));
}

absl::StatusOr<privacy::RdpCurve> Ledger::SpentIn(const std::string& run_id) const {
  privacy::RdpCurve spent;
  for (const Departure& departure : departures_) {
    if (departure.run_id != run_id) continue;
    CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve cost, CostOfConfig(departure.config));
    spent += cost;
  }
  return spent;
}

}  // namespace choir::node
