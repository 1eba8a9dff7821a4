#include "coordinator/service/stream_places.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

class StreamPlacesTest : public testing::Test {
 protected:
  auto Take(StreamPlaces& places, const std::string& caller, int name, absl::Time now = kNow) {
    return places.Take(caller, now, [this, name] { ended_.push_back(name); });
  }
  std::vector<int> ended_;
};

TEST_F(StreamPlacesTest, CallerWithAllItsPlacesIsRefusedUntilOneIsGivenUp) {
  StreamPlaces places({"downloads", 2, 8, absl::Seconds(120), false});
  auto one = Take(places, "a", 1).value();
  const auto two = Take(places, "a", 2).value();
  const absl::Status third = Take(places, "a", 3).status();
  EXPECT_EQ(third.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(third.ToString(), HasSubstr("2 downloads under way already"));
  EXPECT_TRUE(Take(places, "b", 4).ok());
  one.reset();
  EXPECT_TRUE(Take(places, "a", 5).ok());
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(StreamPlacesTest, NoMoreThanTheTotalWhoeverCalls) {
  StreamPlaces places({"downloads", 2, 3, absl::Seconds(120), false});
  const auto one = Take(places, "a", 1).value();
  const auto two = Take(places, "b", 2).value();
  auto three = Take(places, "c", 3).value();
  EXPECT_THAT(Take(places, "d", 4).status().ToString(), HasSubstr("no room for another"));
  three.reset();
  EXPECT_TRUE(Take(places, "d", 5).ok());
}

TEST_F(StreamPlacesTest, NewestWinsEndsTheOldestOnce) {
  StreamPlaces places({"uploads", 1, 8, absl::Seconds(120), true});
  const auto one = Take(places, "a", 1).value();
  const auto other = Take(places, "b", 2).value();
  const auto two = Take(places, "a", 3).value();
  EXPECT_THAT(ended_, ElementsAre(1));
  const auto three = Take(places, "a", 4).value();
  EXPECT_THAT(ended_, ElementsAre(1, 3));
}

TEST_F(StreamPlacesTest, NewestDoesNotPassTheTotal) {
  StreamPlaces places({"uploads", 1, 1, absl::Seconds(120), true});
  const auto one = Take(places, "a", 1).value();
  EXPECT_FALSE(Take(places, "a", 2).ok());
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(StreamPlacesTest, StreamThatStandsStillIsEndedAndOneThatMovesIsNot) {
  StreamPlaces places({"downloads", 2, 8, absl::Seconds(120), false});
  const auto still = Take(places, "a", 1).value();
  const auto moving = Take(places, "a", 2).value();
  moving->Moved(kNow + absl::Seconds(60));
  EXPECT_EQ(places.CancelStalled(kNow + absl::Seconds(119)), 0u);
  EXPECT_EQ(places.CancelStalled(kNow + absl::Seconds(120)), 1u);
  EXPECT_THAT(ended_, ElementsAre(1));
  // Once is enough; its place is free when its thread has noticed.
  EXPECT_EQ(places.CancelStalled(kNow + absl::Seconds(121)), 0u);
  EXPECT_EQ(places.CancelStalled(kNow + absl::Seconds(180)), 1u);
  EXPECT_THAT(ended_, ElementsAre(1, 2));
}

TEST_F(StreamPlacesTest, EndedStreamDoesNotCountAgainstItsCaller) {
  StreamPlaces places({"downloads", 1, 8, absl::Seconds(120), false});
  const auto still = Take(places, "a", 1).value();
  EXPECT_EQ(places.CancelStalled(kNow + absl::Seconds(120)), 1u);
  EXPECT_TRUE(Take(places, "a", 2, kNow + absl::Seconds(120)).ok());
}

}  // namespace
}  // namespace choir::coordinator
