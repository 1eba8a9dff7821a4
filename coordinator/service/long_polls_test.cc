#include "coordinator/service/long_polls.h"

#include <gtest/gtest.h>

namespace choir::coordinator {
namespace {

const absl::Time kLater = absl::FromUnixSeconds(1'800'000'000);

TEST(LongPollsTest, AnswersAtOnceOrWhenNotifiedAndThenNeverAgain) {
  LongPolls polls;
  int calls = 0;
  bool ready = false;
  ASSERT_TRUE(polls
                  .Wait("a", kLater,
                        [&](bool) {
                          ++calls;
                          return ready;
                        })
                  .ok());
  EXPECT_EQ(calls, 1);
  polls.Notify("b");
  EXPECT_EQ(calls, 1);
  ready = true;
  polls.Notify("a");
  polls.Notify("a");
  EXPECT_EQ(calls, 2);
}

TEST(LongPollsTest, MustAnswerAtItsDeadline) {
  LongPolls polls;
  bool was_last = false;
  ASSERT_TRUE(polls.Wait("a", kLater, [&](bool last) { return was_last = last; }).ok());
  polls.Expire(kLater - absl::Seconds(1));
  EXPECT_FALSE(was_last);
  polls.Expire(kLater);
  EXPECT_TRUE(was_last);
}

TEST(LongPollsTest, AttemptMayNotifyItsOwnTopic) {
  LongPolls polls;
  int calls = 0;
  ASSERT_TRUE(polls
                  .Wait("a", kLater,
                        [&](bool) {
                          if (++calls == 1) polls.Notify("a");
                          return calls == 2;
                        })
                  .ok());
  EXPECT_EQ(calls, 2);
}

TEST(LongPollsTest, StopAnswersEverybodyNowAndLater) {
  LongPolls polls;
  int answered = 0;
  const auto attempt = [&](bool last) {
    answered += last ? 1 : 0;
    return last;
  };
  ASSERT_TRUE(polls.Wait("a", kLater, attempt).ok());
  polls.Stop();
  EXPECT_EQ(answered, 1);
  ASSERT_TRUE(polls.Wait("a", kLater, attempt).ok());
  EXPECT_EQ(answered, 2);
}

}  // namespace
}  // namespace choir::coordinator
