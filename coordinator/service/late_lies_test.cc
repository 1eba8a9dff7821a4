// Lies about survivors and their secrets, and nodes that hang up in the middle.
#include <utility>

#include <gtest/gtest.h>

#include "coordinator/service/test_liars.h"
#include "secure-agg/core/messages.h"

namespace choir::coordinator {
namespace {

const Case kLateLies[] = {
    {"AnotherSurvivorList", "two-survivor-lists", Sum::kOfAll,
     [](Lies& l) { l.vouch = [](secagg::ConsistencySignature& v) { v.h3[0] ^= 1; }; }},
    {"SurvivorListWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.vouch = [](secagg::ConsistencySignature& v) { v.signature[0] ^= 1; };
     }},
    {"SharesOfTheOtherKind", "bad-share", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) { a.shares[0].kind = secagg::ShareKind::kMaskKey; };
     }},
    {"SharesOfAStranger", "bad-share", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) { a.shares.back().node_id = kStranger; };
     }},
    {"SharesOutOfOrder", "bad-share", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) { std::swap(a.shares[0], a.shares[1]); };
     }},
    {"SharesThatAreNoScalars", "bad-share", Sum::kOfAll,
     [](Lies& l) { l.answer = [](secagg::UnmaskShares& a) { a.shares[0].share.fill(0xff); }; }},
    {"AnswerWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.answer = [](secagg::UnmaskShares& a) { a.signature[0] ^= 1; };
     }},
    // Got round, because one share more than needed is there.
    {"WrongShares", "", Sum::kOfAll,
     [](Lies& l) {
       l.answer = [](secagg::UnmaskShares& a) {
         for (secagg::UnmaskShare& share : a.shares) share.share[3] ^= 1;
       };
     }},
};

const Case kHangUps[] = {
    {"BeforeJoining", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeJoining; }},
    {"BeforeItsKeys", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeKeys; }},
    {"BeforeItsShares", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeShares; }},
    {"BeforeItsInput", "", Sum::kOfTheOthers, [](Lies& l) { l.hang_up = HangUp::kBeforeInput; }},
    // The stream stays open: the deadline goes by progress, not by the line.
    {"InsideItsInput", "", Sum::kOfTheOthers,
     [](Lies& l) {
       l.chunk_bytes = 64;
       l.hang_up = HangUp::kInsideInput;
     }},
    {"BeforeVouching", "", Sum::kOfAll, [](Lies& l) { l.hang_up = HangUp::kBeforeVouching; }},
    {"BeforeItsAnswer", "", Sum::kOfAll, [](Lies& l) { l.hang_up = HangUp::kBeforeAnswer; }},
};

INSTANTIATE_TEST_SUITE_P(Late, LieTest, testing::ValuesIn(kLateLies), NameOfLie);
INSTANTIATE_TEST_SUITE_P(HangUp, LieTest, testing::ValuesIn(kHangUps), NameOfLie);

}  // namespace
}  // namespace choir::coordinator
