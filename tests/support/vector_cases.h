#ifndef CHOIR_TESTS_SUPPORT_VECTOR_CASES_H_
#define CHOIR_TESTS_SUPPORT_VECTOR_CASES_H_

#include <string>
#include <vector>

namespace choir {

// The words of each line of tests/vectors/`name` that is no comment; "-" stands for no bytes.
std::vector<std::vector<std::string>> VectorCases(const std::string& name);

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_VECTOR_CASES_H_
