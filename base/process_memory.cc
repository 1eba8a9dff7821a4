#include "base/process_memory.h"

#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include <charconv>
#include <fstream>
#include <string>
#include <string_view>

namespace choir {
namespace {

// "VmRSS:     1234 kB"
uint64_t StatusField(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(field)) continue;
    const size_t digit = line.find_first_of("0123456789");
    if (digit == std::string::npos) return 0;
    uint64_t kibibytes = 0;
    std::from_chars(line.data() + digit, line.data() + line.size(), kibibytes);
    return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

uint64_t ResidentBytes() {
  return StatusField("VmRSS:");
}

uint64_t PeakResidentBytes() {
  return StatusField("VmHWM:");
}

bool ResetPeakResident() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5";  // proc(5)
  clear.flush();
  return clear.good();
}

void ReleaseFreedMemory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

void ReturnLargeBlocks() {
#if defined(__GLIBC__)
  constexpr int kLargeBytes = 1 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kLargeBytes);
#endif
}

}  // namespace choir
