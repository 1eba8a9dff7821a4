#ifndef CHOIR_ENGINE_INFER_STOP_STRINGS_H_
#define CHOIR_ENGINE_INFER_STOP_STRINGS_H_

#include <string>
#include <string_view>
#include <vector>

namespace choir::engine {

// Watches generated text for strings that end it. Text that might be the beginning of one is held
// back, so that no part of a stop string is ever shown. Not thread-safe.
class StopStrings {
 public:
  // Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // Takes the next text; returns what may be shown now. Nothing more comes once stopped() is true.
  std::string Feed(std::string_view text);
  // What was held back and turned out harmless, at the end of the generation.
  std::string Flush();
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_STOP_STRINGS_H_
