#include "engine/train/dataset.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/train/line_reader.h"

namespace choir::engine {
namespace {

constexpr size_t kMaxReported = 100;

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Goes through the examples of files, within the limits of all of them together.
class ExampleReader {
 public:
  ExampleReader(const DatasetOptions& options, const ExampleVisitor& visit)
      : options_(options), visit_(visit) {}

  absl::Status ReadFileOf(const std::string& path) {
    ++report_.files;
    if (path.ends_with(".jsonl")) return ReadLines(path);
    const uint64_t limit = std::min(options_.max_bytes - report_.bytes, options_.max_text_bytes);
    CHOIR_ASSIGN_OR_RETURN(std::string text, ReadFile(path, limit));
    report_.bytes += text.size();
    const ExampleOrigin origin{.file = path, .line = 0, .bytes = text.size()};
    if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // byte order mark
    if (IsBlank(text)) return Bad(path, 0, "the file is empty");
    return Add(Example{.text = std::move(text)}, origin);
  }

  DatasetReport report_;

 private:
  absl::Status ReadLines(const std::string& path) {
    CHOIR_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path, options_.max_line_bytes));
    LineReader::Line line;
    for (;;) {
      CHOIR_ASSIGN_OR_RETURN(const bool more, reader.Next(line));
      if (!more) return absl::OkStatus();
      if (line.bytes > options_.max_bytes - report_.bytes) {
        return absl::ResourceExhaustedError(
            fmt::format("the data has more than {} bytes (up to {}:{})", options_.max_bytes, path,
                        line.number));
      }
      report_.bytes += line.bytes;
      CHOIR_RETURN_IF_ERROR(ReadLine(path, line));
    }
  }

  absl::Status ReadLine(const std::string& path, const LineReader::Line& line) {
    if (line.too_long) {
      return Bad(path, line.number,
                 fmt::format("the line has {} bytes; at most {} are read", line.bytes,
                             options_.max_line_bytes));
    }
    if (IsBlank(line.text)) return absl::OkStatus();
    absl::StatusOr<Example> example = ParseExample(line.text);
    if (!example.ok()) {
      return Bad(path, line.number, std::string(example.status().message()));
    }
    return Add(*std::move(example), {.file = path, .line = line.number, .bytes = line.bytes});
  }

  absl::Status Add(Example example, const ExampleOrigin& origin) {
    if (options_.take || options_.deduplicate) {
      const ExampleDigest digest = DigestOf(example);
      if (options_.take && !options_.take(digest)) {
        ++report_.not_taken;
        return absl::OkStatus();
      }
      if (options_.deduplicate && !seen_.insert(digest.exact).second) {
        ++report_.duplicates;
        return absl::OkStatus();
      }
    }
    if (report_.examples >= options_.max_examples) {
      return absl::ResourceExhaustedError(
          fmt::format("the data has more than {} examples", options_.max_examples));
    }
    ++report_.examples;
    return visit_(std::move(example), origin);
  }

  absl::Status Bad(const std::string& path, uint64_t line, const std::string& reason) {
    if (!options_.skip_bad_lines) {
      return absl::InvalidArgumentError(line == 0 ? fmt::format("{}: {}", path, reason)
                                                  : fmt::format("{}:{}: {}", path, line, reason));
    }
    ++report_.bad_lines;
    ++report_.bad_lines_by_file[path];
    if (report_.first_bad_lines.size() < kMaxReported) {
      report_.first_bad_lines.push_back({path, line, reason});
    }
    return absl::OkStatus();
  }

  const DatasetOptions& options_;
  const ExampleVisitor& visit_;
  absl::flat_hash_set<Digest> seen_;  // exact digests, for deduplicate
};

bool HasDataSuffix(std::string_view path) {
  return path.ends_with(".jsonl") || path.ends_with(".txt") || path.ends_with(".md");
}

struct DataFiles {
  std::vector<std::string> paths;
  std::vector<std::string> others;  // that are no data by their names
};

// Data files of a folder and the folders in it, by path. Hidden ones, and links to folders, are
// left out.
absl::StatusOr<DataFiles> ListDataFiles(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  DataFiles out;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code type_error;
    if (name.starts_with('.')) {
      if (entry->is_directory(type_error)) entry.disable_recursion_pending();
    } else if (entry->is_regular_file(type_error)) {
      (HasDataSuffix(name) ? out.paths : out.others).push_back(entry->path().string());
    }
  }
  if (error) {
    return absl::UnavailableError(fmt::format("cannot list {}: {}", folder, error.message()));
  }
  std::sort(out.paths.begin(), out.paths.end());
  std::sort(out.others.begin(), out.others.end());
  return out;
}

absl::StatusOr<DataFiles> FilesOf(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return ListDataFiles(path);
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(fmt::format("{} does not exist", path));
  }
  if (!HasDataSuffix(path)) {
    return absl::InvalidArgumentError(
        fmt::format("{} is neither a folder nor a .jsonl, .txt or .md file", path));
  }
  return DataFiles{.paths = {path}, .others = {}};
}

}  // namespace

absl::Status VisitExamples(const std::string& path, const DatasetOptions& options,
                           const ExampleVisitor& visit, DatasetReport* report) {
  CHOIR_ASSIGN_OR_RETURN(DataFiles files, FilesOf(path));
  ExampleReader reader(options, visit);
  absl::Status status;
  for (size_t i = 0; i < files.paths.size() && status.ok(); ++i) {
    status = reader.ReadFileOf(files.paths[i]);
  }
  reader.report_.other_files = files.others.size();
  files.others.resize(std::min(files.others.size(), kMaxReported));
  reader.report_.first_other_files = std::move(files.others);
  if (report != nullptr) *report = reader.report_;
  if (!status.ok()) return status;
  if (reader.report_.examples == 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: no training example in {} files ({} bad lines)", path, files.paths.size(),
                    reader.report_.bad_lines));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Example>> ReadExamples(const std::string& path,
                                                  const DatasetOptions& options,
                                                  DatasetReport* report) {
  std::vector<Example> examples;
  const auto keep = [&examples](Example example, const ExampleOrigin& /*origin*/) {
    examples.push_back(std::move(example));
    return absl::OkStatus();
  };
  CHOIR_RETURN_IF_ERROR(VisitExamples(path, options, keep, report));
  return examples;
}

}  // namespace choir::engine
