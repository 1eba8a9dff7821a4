#ifndef CHOIR_TESTS_SUPPORT_TEMP_DIR_H_
#define CHOIR_TESTS_SUPPORT_TEMP_DIR_H_

#include <string>

namespace choir {

// A fresh folder that is removed, with all that is in it, at the end of the test.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_TEMP_DIR_H_
