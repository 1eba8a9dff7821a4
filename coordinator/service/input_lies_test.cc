// Lies about the masked input: the upload's form, and what is under the mask.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "coordinator/service/test_liars.h"
#include "secure-agg/core/chunks.h"

namespace choir::coordinator {
namespace {

// Adds to words of y, and so to words of the sum.
void AddTo(std::vector<uint8_t>& packed, size_t word, size_t count, int64_t more) {
  for (size_t i = word; i < word + count; ++i) {
    uint32_t value = 0;
    for (size_t k = 4; k-- > 0;) value = value << 8 | packed[4 * i + k];
    value += static_cast<uint32_t>(more);
    for (size_t k = 0; k < 4; ++k) packed[4 * i + k] = static_cast<uint8_t>(value >> (8 * k));
  }
}
// 36 values, 4 check words, then slots of two limbs: the weight's first. A range of 100 in 29 bits.
constexpr size_t kValues = 36;
constexpr size_t kWeightHigh = kValues + 4 + 1;  // in sixteenths
constexpr int64_t kOne = ((int64_t{1} << 28) - 1) / 100;

const Case kInputLies[] = {
    {"LongerInput", "shape-mismatch", Sum::kOfAll,
     [](Lies& l) { l.header = [](secagg::MaskedInputHeader& h) { h.total_bytes += 4; }; }},
    {"ShorterInput", "shape-mismatch", Sum::kOfAll,
     [](Lies& l) {
       l.input = [](std::vector<uint8_t>& y) { y.erase(y.end() - 4, y.end()); };
       l.header = [](secagg::MaskedInputHeader& h) { h.total_bytes -= 4; };
     }},
    {"HugeInput", "shape-mismatch", Sum::kOfAll,
     [](Lies& l) { l.header = [](secagg::MaskedInputHeader& h) { h.total_bytes = 1ull << 40; }; }},
    {"InputWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.header = [](secagg::MaskedInputHeader& h) { h.signature[9] ^= 1; };
     }},
    {"InputInAnothersName", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.header = [](secagg::MaskedInputHeader& h) { h.node_id = kStranger; }; }},
    {"ChunkWithoutAHeader", "unexpected-message", Sum::kOfAll,
     [](Lies& l) { l.stream = [](auto& stream) { stream.erase(stream.begin()); }; }},
    {"ChunkOfNoKind", "malformed-message", Sum::kOfAll,
     [](Lies& l) { l.stream = [](auto& stream) { stream[1].set_body("garbage"); }; }},
    {"ChunkOutOfOrder", "chunk-out-of-order", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].sequence = 1; }; }},
    {"ChunkOfAnotherSession", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].session_id[0] ^= 1; }; }},
    {"ShortChunk", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].data.pop_back(); }; }},
    {"LongChunk", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].data.push_back(1); }; }},
    {"ChunkWithAnotherHash", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) { l.chunks = [](auto& chunks) { chunks[0].running_hash[0] ^= 1; }; }},
    {"OtherBytesThanTheHeaderSays", "chunk-damaged", Sum::kOfAll,
     [](Lies& l) {
       l.chunks = [](auto& chunks) {
         chunks[0].data[0] ^= 1;
         chunks[0].running_hash = secagg::ExtendRunningHash({}, chunks[0].data);
       };
     }},
    {"ChunkTwice", "", Sum::kOfAll,
     [](Lies& l) {
       l.chunk_bytes = 64;
       l.chunks = [](auto& chunks) { chunks.insert(chunks.begin() + 1, chunks[0]); };
     }},
    {"ChunkTwiceAndDifferent", "second-masked-input", Sum::kOfAll,
     [](Lies& l) {
       l.chunks = [](auto& chunks) {
         chunks.push_back(chunks[0]);
         chunks[1].data[0] ^= 1;
         chunks[1].running_hash = secagg::ExtendRunningHash({}, chunks[1].data);
       };
     }},
    {"InputTwice", "", Sum::kOfAll,
     [](Lies& l) {
       l.after_the_truth = true;
       l.stream = [](auto&) {};
     }},
    {"TwoInputs", "second-masked-input", Sum::kOfAll,
     [](Lies& l) {
       l.after_the_truth = true;
       l.input = [](std::vector<uint8_t>& y) { AddTo(y, 0, 1, 1); };
     }},
    {"InputForAnotherSession", "session-over", Sum::kOfAll,
     [](Lies& l) {
       l.stream = [](auto& stream) { stream[0].set_session_id(std::string(16, 'x')); };
     }},
    {"InputWithoutItsEnd", "", Sum::kOfTheOthers,
     [](Lies& l) {
       l.chunk_bytes = 64;
       l.chunks = [](auto& chunks) { chunks.pop_back(); };
     }},
};

// Under its mask an input shows nothing; the sum does. NaN and infinity have no word.
const Case kValueLies[] = {
    {"WordsBeyondTheBound", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, 3, 1, 450 * kOne); }; }, 3},
    {"NormBeyondTheBound", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, 0, kValues, 90 * kOne); }; }, 3},
    {"WeightThatMakesAllOthersCount", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, kWeightHigh, 1, -63); }; }, 3},
    {"WeightOfMany", "sum-out-of-bound", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, kWeightHigh, 1, 16); }; }, 3},
    {"CountedForTwo", "sum-inconsistent", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { AddTo(y, kValues, 4, 1); }; }, 3},
    {"NoiseForAnInput", "sum-inconsistent", Sum::kOfALaterRound,
     [](Lies& l) { l.input = [](auto& y) { std::ranges::fill(y, uint8_t{0xa5}); }; }, 3},
};

INSTANTIATE_TEST_SUITE_P(Input, LieTest, testing::ValuesIn(kInputLies), NameOfLie);
INSTANTIATE_TEST_SUITE_P(Values, LieTest, testing::ValuesIn(kValueLies), NameOfLie);

}  // namespace
}  // namespace choir::coordinator
