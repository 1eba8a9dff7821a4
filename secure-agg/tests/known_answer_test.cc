#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hex.h"
#include "secure-agg/core/result_chain.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/tests/cohort.h"

// The whole protocol with fixed seeds, on both graphs, one node of which drops out, against bytes
// that are checked in: a change of any message, key, mask or rounding shows here. After a wanted
// change of the protocol, CHOIR_WRITE_VECTORS=1 writes the file anew.
namespace choir::secagg {
namespace {

std::string Line(std::string_view name, std::span<const uint8_t> bytes) {
  // A long message by its hash and length: the file stays readable.
  if (bytes.size() <= 512) return fmt::format("{} {}\n", name, HexEncode(bytes));
  return fmt::format("{} sha256:{} {}\n", name, DigestToHex(Sha256Of(bytes)), bytes.size());
}

Digest H1Of(const SessionConfig& config, std::span<const uint8_t> list) {
  const Digest h0 = HashConfig(config);
  if (config.graph == GraphKind::kRegular) {
    return HashNeighbourList(h0, DecodeNeighbourList(list).value());
  }
  return HashKeyList(h0, DecodeKeyList(list).value());
}

// Node 2 is silent from its input on. `shown`: whose messages are written out.
std::string Transcript(const SessionConfig& config, uint32_t n, const std::vector<size_t>& shown) {
  const TestCohort cohort(n, config, 71);
  Play play(cohort, {{2, 2}});
  std::string out =
      fmt::format("# choir secure aggregation, {} nodes, node-002 drops out before its input\n", n);
  const auto node = [&](size_t i, std::string_view what) {
    return fmt::format("{}.{}", cohort.nodes[i].id, what);
  };
  const auto told = [&](size_t i) { return play.server.MessageFor(cohort.nodes[i].id).value(); };
  out += Line("session_config", Encode(cohort.config));
  out += Line("h0", HashConfig(cohort.config));
  EXPECT_TRUE(play.Advertise());
  for (const size_t i : shown) {
    out += Line(node(i, "advertise_keys"), Sent(play.clients[i]->CurrentStep()));
  }
  out += Line("key_list", told(0));
  out += Line("h1", H1Of(cohort.config, told(0)));
  EXPECT_TRUE(play.Share());
  for (const size_t i : shown) {
    out += Line(node(i, "share_keys"), Sent(play.clients[i]->CurrentStep()));
    out += Line(node(i, "share_delivery"), told(i));
  }
  EXPECT_TRUE(play.Mask());
  for (const size_t i : shown) {
    if (i == 2) continue;
    out += Line(node(i, "x"), cohort.PlainInput(i));
    out += Line(node(i, "y"), DecodeMaskedInputChunk(play.clients[i]->Chunk(0).value())->data);
    out += Line(node(i, "masked_input_header"), Sent(play.clients[i]->CurrentStep()));
  }
  out += Line("survivor_list", told(0));
  EXPECT_TRUE(play.Vouch());
  out += Line("h3", *play.clients[0]->h3());
  out += Line("survivor_signatures", told(0));
  EXPECT_TRUE(play.Unmask());
  for (const size_t i : shown) {
    if (i == 2) continue;
    out += Line(node(i, "unmask_shares"), Sent(play.clients[i]->CurrentStep()));
  }
  const SessionSum sum = std::move(play.server).TakeSum().value();
  EXPECT_EQ(sum.packed, cohort.PlainSum(sum.contributors));
  out += Line("sum", sum.packed);
  RoundResult result{config.federation_id,
                     config.run_id,
                     config.round,
                     config.session_id,
                     0,
                     {},
                     sum.h3,
                     sum.sum_hash,
                     sum.contributors,
                     Sha256Of("new adapter"),
                     {},
                     {}};
  EXPECT_TRUE(SignResult(std::nullopt, cohort.coordinator, result).ok());
  out += Line("round_result", Encode(result));
  return out;
}

void ExpectStored(const char* path, const std::string& transcript) {
  if (std::getenv("CHOIR_WRITE_VECTORS") != nullptr) {
    ASSERT_TRUE(AtomicWriteFile(path, transcript).ok());
  }
  const auto stored = ReadFile(path, 1 << 20);
  ASSERT_TRUE(stored.ok()) << stored.status().ToString();
  EXPECT_EQ(transcript, *stored);
}

TEST(KnownAnswerTest, WholeSessionMatchesTheStoredBytes) {
  SessionConfig config = TestConfig(8);
  config.word_bits = 16;
  config.value_bits = 11;
  ExpectStored("tests/vectors/secagg_session.txt", Transcript(config, 5, {0, 1, 2, 3, 4}));
}

TEST(KnownAnswerTest, WholeSessionOnARegularGraphMatchesTheStoredBytes) {
  SessionConfig config = TestRegularConfig(8);
  config.word_bits = 24;
  config.value_bits = 16;
  config.prg = Prg::kAes256Ctr;
  ExpectStored("tests/vectors/secagg_regular_session.txt", Transcript(config, 22, {0, 1, 2, 21}));
}

}  // namespace
}  // namespace choir::secagg
