#include "engine/infer/stop_strings.h"

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

TEST(StopStringsTest, TextWithoutAStopPassesAtOnce) {
  StopStrings stops({"###"});
  EXPECT_EQ(stops.Feed("Once upon"), "Once upon");
  EXPECT_EQ(stops.Flush(), "");
  EXPECT_FALSE(stops.stopped());
}

TEST(StopStringsTest, StopSplitOverPiecesIsNeverShown) {
  StopStrings stops({"\nUser:"});
  EXPECT_EQ(stops.Feed("Hello.\n"), "Hello.");
  EXPECT_EQ(stops.Feed("Us"), "");
  EXPECT_EQ(stops.Feed("er: more"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.Feed("x"), "");
  EXPECT_EQ(stops.Flush(), "");
}

TEST(StopStringsTest, FalseBeginningIsReleased) {
  StopStrings stops({"abc"});
  EXPECT_EQ(stops.Feed("ab"), "");
  EXPECT_EQ(stops.Feed("abx"), "ababx");
  EXPECT_EQ(stops.Feed("a"), "");
  EXPECT_EQ(stops.Flush(), "a");
}

TEST(StopStringsTest, EarliestOfSeveralWins) {
  StopStrings stops({"yy", "x", ""});
  EXPECT_EQ(stops.Feed("1x2yy"), "1");
  EXPECT_TRUE(stops.stopped());
}

}  // namespace
}  // namespace choir::engine
