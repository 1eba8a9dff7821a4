// Lies about keys and shares, before anybody has masked anything.
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/file.h"
#include "coordinator/service/test_liars.h"
#include "secure-agg/core/messages.h"

namespace choir::coordinator {
namespace {

void Raw(Lies& lies, uint8_t kind, void (*change)(v1::SessionMessage&)) {
  lies.raw_kind = kind;
  lies.raw = change;
}
const Case kKeyLies[] = {
    {"KeysWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.keys = [](secagg::AdvertiseKeys& k) { k.nonce[0] ^= 1; };
     }},
    {"KeysOfAnotherSession", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.session_id[0] ^= 1; }; }},
    {"KeysInAnothersName", "foreign-session", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.node_id = kStranger; }; }},
    {"KeyOfLowOrder", "low-order-key", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.mask_key = {1}; }; }},
    {"KeyInASecondSpelling", "low-order-key", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.share_key[31] |= 0x80; }; }},
    {"OneKeyForTwoPurposes", "repeated-key", Sum::kOfAll,
     [](Lies& l) { l.keys = [](secagg::AdvertiseKeys& k) { k.mask_key = k.share_key; }; }},
    {"MessageForAnotherSession", "foreign-session", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 2, [](v1::SessionMessage& m) { m.set_session_id(std::string(16, 'x')); });
     }},
    {"MessageOfNoKind", "malformed-message", Sum::kOfAll,
     [](Lies& l) { Raw(l, 2, [](v1::SessionMessage& m) { m.set_kind(3); }); }},
    {"MessageCutShort", "malformed-message", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 2, [](v1::SessionMessage& m) { m.mutable_body()->resize(m.body().size() - 1); });
     }},
    {"MessageTooLong", "malformed-message", Sum::kOfAll,
     [](Lies& l) { Raw(l, 2, [](v1::SessionMessage& m) { m.mutable_body()->push_back('x'); }); }},
    {"AnswerBeforeItsTime", "unexpected-message", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 2, [](v1::SessionMessage& m) {
         const auto keys = secagg::DecodeAdvertiseKeys(AsBytes(m.body())).value();
         const secagg::ConsistencySignature early{keys.session_id, keys.node_id, {}, {}};
         m.set_kind(9);
         m.set_body(std::string(AsChars(secagg::Encode(early))));
       });
     }},
    {"KeysAfterTheirTime", "too-late", Sum::kOfAll,
     [](Lies& l) {
       Raw(l, 9, [](v1::SessionMessage& m) {
         const auto vouch = secagg::DecodeConsistencySignature(AsBytes(m.body())).value();
         secagg::AdvertiseKeys late;
         late.session_id = vouch.session_id;
         late.node_id = vouch.node_id;
         m.set_kind(2);
         m.set_body(std::string(AsChars(secagg::Encode(late))));
       });
     }},
};

const Case kShareLies[] = {
    {"FewerSharesThanPeers", "bad-share", Sum::kOfAll,
     [](Lies& l) { l.shares = [](secagg::ShareKeys& s) { s.shares.pop_back(); }; }},
    {"SharesForAStranger", "bad-share", Sum::kOfAll,
     [](Lies& l) { l.shares = [](secagg::ShareKeys& s) { s.shares[2].node_id = kStranger; }; }},
    {"SharesWithAForgedSignature", "bad-signature", Sum::kOfAll,
     [](Lies& l) {
       l.sign = false;
       l.shares = [](secagg::ShareKeys& s) { s.signature[0] ^= 1; };
     }},
    // Nobody but a share's receiver can see these; its secrets cannot be opened in the end.
    {"SwappedShares", "too-few-unmask-shares", Sum::kOfALaterRound,
     [](Lies& l) {
       l.shares = [](secagg::ShareKeys& s) { std::swap(s.shares[0].sealed, s.shares[1].sealed); };
     },
     3},  // it is named, and left out from then on
    {"GarbageForShares", "too-few-unmask-shares", Sum::kOfALaterRound,
     [](Lies& l) {
       l.shares = [](secagg::ShareKeys& s) {
         for (secagg::SealedShare& share : s.shares) share.sealed.fill(0x5a);
       };
     },
     3},
};

INSTANTIATE_TEST_SUITE_P(Keys, LieTest, testing::ValuesIn(kKeyLies), NameOfLie);
INSTANTIATE_TEST_SUITE_P(Shares, LieTest, testing::ValuesIn(kShareLies), NameOfLie);

}  // namespace
}  // namespace choir::coordinator
