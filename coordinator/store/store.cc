#include "coordinator/store/store.h"

#include "coordinator/store/sqlite.h"

namespace choir::coordinator {

const std::vector<StoreKind>& StoreKinds() {
  static const std::vector<StoreKind> kinds = {
      {"sqlite", OpenSqliteStore},
  };
  return kinds;
}

}  // namespace choir::coordinator
