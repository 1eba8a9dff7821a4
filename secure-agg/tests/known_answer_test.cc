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

// The whole protocol of five nodes with fixed seeds, one of which drops out, against bytes that are
// checked in: a change of any message, key, mask or rounding shows here. After a wanted change of
// the protocol, CHOIR_WRITE_VECTORS=1 writes the file anew.
namespace choir::secagg {
namespace {

constexpr char kVectors[] = "tests/vectors/secagg_session.txt";

std::string Line(std::string_view name, std::span<const uint8_t> bytes) {
  // A long message by its hash and length: the file stays readable.
  if (bytes.size() <= 512) return fmt::format("{} {}\n", name, HexEncode(bytes));
  return fmt::format("{} sha256:{} {}\n", name, DigestToHex(Sha256Of(bytes)), bytes.size());
}

std::string Transcript() {
  SessionConfig config = TestConfig(8);
  config.word_bits = 16;
  config.value_bits = 11;
  const TestCohort cohort(5, config, 71);
  Play play(cohort, {{2, 2}});
  std::string out = "# choir secure aggregation, 5 nodes, node-002 drops out before its input\n";
  const auto node = [&](size_t i, std::string_view what) {
    return fmt::format("{}.{}", cohort.nodes[i].id, what);
  };
  out += Line("session_config", Encode(cohort.config));
  out += Line("h0", HashConfig(cohort.config));
  EXPECT_TRUE(play.Advertise());
  for (size_t i = 0; i < 5; ++i) {
    out += Line(node(i, "advertise_keys"), Sent(play.clients[i]->CurrentStep()));
  }
  const auto list = play.server.MessageFor(cohort.nodes[0].id).value();
  out += Line("key_list", list);
  out += Line("h1", HashKeyList(HashConfig(cohort.config), DecodeKeyList(list).value()));
  EXPECT_TRUE(play.Share());
  for (size_t i = 0; i < 5; ++i) {
    out += Line(node(i, "share_keys"), Sent(play.clients[i]->CurrentStep()));
    out += Line(node(i, "share_delivery"), play.server.MessageFor(cohort.nodes[i].id).value());
  }
  EXPECT_TRUE(play.Mask());
  for (const size_t i : {0u, 1u, 3u, 4u}) {
    out += Line(node(i, "x"), cohort.PlainInput(i));
    out += Line(node(i, "y"), DecodeMaskedInputChunk(play.clients[i]->Chunk(0).value())->data);
    out += Line(node(i, "masked_input_header"), Sent(play.clients[i]->CurrentStep()));
  }
  out += Line("survivor_list", play.server.MessageFor(cohort.nodes[0].id).value());
  EXPECT_TRUE(play.Vouch());
  out += Line("h3", *play.clients[0]->h3());
  out += Line("survivor_signatures", play.server.MessageFor(cohort.nodes[0].id).value());
  EXPECT_TRUE(play.Unmask());
  for (const size_t i : {0u, 1u, 3u, 4u}) {
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

TEST(KnownAnswerTest, WholeSessionMatchesTheStoredBytes) {
  const std::string transcript = Transcript();
  if (std::getenv("CHOIR_WRITE_VECTORS") != nullptr) {
    ASSERT_TRUE(AtomicWriteFile(kVectors, transcript).ok());
  }
  const auto stored = ReadFile(kVectors, 1 << 20);
  ASSERT_TRUE(stored.ok()) << stored.status().ToString();
  EXPECT_EQ(transcript, *stored);
}

}  // namespace
}  // namespace choir::secagg
