#ifndef CHOIR_COORDINATOR_STORE_SQLITE_H_
#define CHOIR_COORDINATOR_STORE_SQLITE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "coordinator/store/store.h"

namespace choir::coordinator {

// One file (and its -wal and -shm beside it), readable by its owner only. WAL, synchronous=FULL: a
// commit that returned survives a power loss. One writer at a time.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STORE_SQLITE_H_
