#ifndef CHOIR_ENGINE_BACKEND_REFERENCE_BACKEND_H_
#define CHOIR_ENGINE_BACKEND_REFERENCE_BACKEND_H_

// The ops' references as a backend, for tests: whatever is built on Backend can be tested in double
// precision, apart from any kernel. Persistent tensors and what the host reads are f32; everything
// in between is double.

#include <memory>

#include "engine/backend/backend.h"

namespace choir::engine {

std::unique_ptr<Backend> CreateReferenceBackend();

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_REFERENCE_BACKEND_H_
