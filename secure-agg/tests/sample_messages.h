#ifndef CHOIR_SECURE_AGG_TESTS_SAMPLE_MESSAGES_H_
#define CHOIR_SECURE_AGG_TESTS_SAMPLE_MESSAGES_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace choir::secagg {

// Decodes `bytes` as each kind of message; what decodes must encode to the same bytes. False if it
// does not. The one property that tests and the fuzz target hold all decoders to.
bool DecodeIsExact(std::span<const uint8_t> bytes);

// One filled-in message of each of the twelve kinds, encoded, with its name.
struct SampleMessage {
  std::string name;
  std::vector<uint8_t> bytes;
};
std::vector<SampleMessage> SampleMessages();

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_TESTS_SAMPLE_MESSAGES_H_
