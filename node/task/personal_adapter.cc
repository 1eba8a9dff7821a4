#include "node/task/personal_adapter.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/lora/gguf_adapter.h"

namespace choir::node {

PersonalAdapter::PersonalAdapter(const std::string& folder, const std::string& run_id)
    : folder_(fmt::format("{}/{}", folder, run_id)), path_(folder_ + "/personal.gguf") {}

bool PersonalAdapter::Exists() const {
  std::error_code ignored;
  return std::filesystem::exists(path_, ignored);
}

absl::Status PersonalAdapter::Keep(const std::string& version_path,
                                   const std::string& trained_path) const {
  return Join(version_path, trained_path);
}

absl::Status PersonalAdapter::TakeCommonPart(const std::string& version_path) const {
  return Exists() ? Join(version_path, path_) : absl::OkStatus();
}

absl::Status PersonalAdapter::Join(const std::string& a_path, const std::string& b_path) const {
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter joined, engine::ReadGgufAdapter(a_path));
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter own, engine::ReadGgufAdapter(b_path));
  if (!engine::SameShape(joined, own)) {
    return absl::DataLossError(
        fmt::format("{} has another shape than {}: they are not of one run", b_path, a_path));
  }
  for (size_t i = 0; i < joined.pairs.size(); ++i) {
    joined.pairs[i].b = std::move(own.pairs[i].b);
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, engine::SerializeGgufAdapter(joined));
  CHOIR_RETURN_IF_ERROR(MakeDirectories(folder_, 0700));
  return AtomicWriteSecretFile(path_, bytes);
}

}  // namespace choir::node
