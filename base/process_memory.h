#ifndef CHOIR_BASE_PROCESS_MEMORY_H_
#define CHOIR_BASE_PROCESS_MEMORY_H_

// How much memory this process has, as the system counts it (Linux; elsewhere all are 0 and false).

#include <cstdint>

namespace choir {

// Pages in memory now, in bytes: its own, and those of mapped files that it has touched.
uint64_t ResidentBytes();
// The most there ever were since the start, or since the last reset.
uint64_t PeakResidentBytes();
// False where the system keeps one mark for the whole life of a process.
bool ResetPeakResident();

}  // namespace choir

#endif  // CHOIR_BASE_PROCESS_MEMORY_H_
