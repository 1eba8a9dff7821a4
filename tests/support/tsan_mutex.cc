// For ThreadSanitizer alone: Debian's Abseil is not built with it, so that every absl::Mutex would
// be invisible and every use of one a false alarm. These stand before the library's functions, tell
// the sanitizer what they order, and call them. An inline call of a Condition is of our own code.
#include <dlfcn.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}

namespace {

template <typename Function>
Function Library(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// What a lock that is given up and taken again orders.
struct Reacquire {
  explicit Reacquire(void* address) : lock(address) { __tsan_release(lock); }
  ~Reacquire() { __tsan_acquire(lock); }
  void* lock;
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static const auto library = Library<void (*)(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  library(this);
  __tsan_acquire(this);
}
void Mutex::Unlock() {
  static const auto library = Library<void (*)(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(this);
  library(this);
}
bool Mutex::TryLock() {
  static const auto library = Library<bool (*)(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool taken = library(this);
  if (taken) __tsan_acquire(this);
  return taken;
}
void Mutex::ReaderLock() {
  static const auto library = Library<void (*)(Mutex*)>("_ZN4absl7debian35Mutex10ReaderLockEv");
  library(this);
  __tsan_acquire(this);
}
void Mutex::ReaderUnlock() {
  static const auto library = Library<void (*)(Mutex*)>("_ZN4absl7debian35Mutex12ReaderUnlockEv");
  __tsan_release(this);
  library(this);
}
void Mutex::Await(const Condition& condition) {
  static const auto library =
      Library<void (*)(Mutex*, const Condition&)>("_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE");
  const Reacquire around(this);
  library(this, condition);
}
bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static const auto library = Library<bool (*)(Mutex*, const Condition&, Duration)>(
      "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  const Reacquire around(this);
  return library(this, condition, timeout);
}
bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static const auto library = Library<bool (*)(Mutex*, const Condition&, Time)>(
      "_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const Reacquire around(this);
  return library(this, condition, deadline);
}
void CondVar::Wait(Mutex* mutex) {
  static const auto library =
      Library<void (*)(CondVar*, Mutex*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  const Reacquire around(mutex);
  library(this, mutex);
}
bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static const auto library = Library<bool (*)(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  const Reacquire around(mutex);
  return library(this, mutex, timeout);
}
bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static const auto library = Library<bool (*)(CondVar*, Mutex*, Time)>(
      "_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  const Reacquire around(mutex);
  return library(this, mutex, deadline);
}
void Notification::Notify() {
  static const auto library =
      Library<void (*)(Notification*)>("_ZN4absl7debian312Notification6NotifyEv");
  __tsan_release(this);
  library(this);
}

ABSL_NAMESPACE_END
}  // namespace absl
