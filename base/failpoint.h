#ifndef CHOIR_BASE_FAILPOINT_H_
#define CHOIR_BASE_FAILPOINT_H_

// Places where a test may kill the process, as `kill -9` would, to see what a restart finds.
//
// A build with CHOIR_FAILPOINTS=ON (the dev, asan, tsan and clang presets) reads the variable
// CHOIR_FAILPOINT="name" or "name:n" once, and kills itself at the n-th hit (from 1) of that name.
// In any other build, and so in a release, the macro is nothing at all.
#ifdef CHOIR_FAILPOINTS
#define CHOIR_FAILPOINT(name) ::choir::HitFailpoint(name)
#else
#define CHOIR_FAILPOINT(name) static_cast<void>(0)
#endif

namespace choir {

// Thread-safe. Names are kebab-case, one use each: "coordinator-merged-before-commit".
void HitFailpoint(const char* name);

}  // namespace choir

#endif  // CHOIR_BASE_FAILPOINT_H_
