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

// Memory that the program has freed, but keeps for its next allocations, goes back to the system.
void ReleaseFreedMemory();
// From now on a block of 1 MiB or more goes back as soon as it is freed. Without this, the C
// library keeps blocks of a size that was freed once (up to 32 MiB), and as much again at the end
// of the heap. For the start of a program that uses large blocks seldom, and for long.
void ReturnLargeBlocks();

}  // namespace choir

#endif  // CHOIR_BASE_PROCESS_MEMORY_H_
