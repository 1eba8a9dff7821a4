#ifndef CHOIR_BASE_STATUS_MACROS_H_
#define CHOIR_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define CHOIR_CONCAT_INNER_(a, b) a##b
#define CHOIR_CONCAT_(a, b) CHOIR_CONCAT_INNER_(a, b)

#define CHOIR_RETURN_IF_ERROR(expr) \
  if (absl::Status choir_status_ = (expr); !choir_status_.ok()) return choir_status_

#define CHOIR_ASSIGN_OR_RETURN(lhs, expr) \
  CHOIR_ASSIGN_OR_RETURN_IMPL_(CHOIR_CONCAT_(choir_statusor_, __LINE__), lhs, expr)
#define CHOIR_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  if (!tmp.ok()) return std::move(tmp).status();     \
  lhs = *std::move(tmp)

#endif  // CHOIR_BASE_STATUS_MACROS_H_
