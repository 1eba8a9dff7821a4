#ifndef CHOIR_SECURE_AGG_CORE_SEEDED_BUG_H_
#define CHOIR_SECURE_AGG_CORE_SEEDED_BUG_H_

// Places where a test build of this library can be broken on purpose, to show that the tests would
// notice (tests/seeded_bugs_main.cc has the list). In every other build the hook is the constant
// false, and nothing of it is left in the program.
#ifdef CHOIR_SEEDED_BUGS
namespace choir::secagg {
// Defined by the test program.
int ActiveSeededBug();
}  // namespace choir::secagg
#define CHOIR_SEEDED_BUG(number) (::choir::secagg::ActiveSeededBug() == (number))
#else
#define CHOIR_SEEDED_BUG(number) false
#endif

#endif  // CHOIR_SECURE_AGG_CORE_SEEDED_BUG_H_
