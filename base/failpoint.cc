#include "base/failpoint.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace choir {
namespace {

struct Armed {
  std::string name;
  int64_t hits_left = 0;
};

Armed FromEnvironment() {
  const char* text = std::getenv("CHOIR_FAILPOINT");
  if (text == nullptr) return {};
  const std::string_view spec = text;
  const size_t colon = spec.find(':');
  Armed armed{std::string(spec.substr(0, colon)), 1};
  if (colon != std::string_view::npos) {
    const std::string_view count = spec.substr(colon + 1);
    std::from_chars(count.data(), count.data() + count.size(), armed.hits_left);
  }
  return armed;
}

}  // namespace

void HitFailpoint(const char* name) {
  static const Armed armed = FromEnvironment();
  static std::atomic<int64_t> hits_left{armed.hits_left};
  if (armed.name != name) return;
  if (hits_left.fetch_sub(1) == 1) kill(getpid(), SIGKILL);
}

}  // namespace choir
