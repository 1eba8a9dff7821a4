#include "cli/demo_data.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/failure.h"
#include "nlohmann/json.hpp"

namespace choir::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;
constexpr size_t kHoldOutEvery = 10;
constexpr size_t kMaxHeldOut = 40;
constexpr size_t kMinPromptBytes = 32;
constexpr size_t kMaxPromptBytes = 160;

void Append(Records& to, Records from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

// Stretch `part` of `parts` of the records.
Records Stretch(const Records& records, size_t part, size_t parts) {
  const auto at = [&](size_t k) {
    return records.begin() + static_cast<std::ptrdiff_t>(records.size() * k / parts);
  };
  return {at(part), at(part + 1)};
}

Records LinesOf(const std::string& text) {
  Records lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

// Paragraphs, which blank lines part.
Records ParagraphsOf(const std::string& text) {
  Records paragraphs;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find("\n\n", begin), text.size());
    const std::string paragraph = text.substr(begin, end - begin);
    if (paragraph.find_first_not_of(" \t\r\n") != std::string::npos) {
      const nlohmann::json record = {{"text", paragraph}};
      paragraphs.push_back(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
    begin = end + 2;
  }
  return paragraphs;
}

bool IsText(const fs::path& path) {
  return path.extension() == ".txt" || path.extension() == ".md";
}

absl::StatusOr<Records> ReadRecords(const fs::path& path) {
  const absl::StatusOr<std::string> text = ReadFile(path.string(), kMaxFileBytes);
  if (!text.ok()) return BadInput("data", path.string(), text.status());
  return IsText(path) ? ParagraphsOf(*text) : LinesOf(*text);
}

// "client.train.jsonl" -> "client"; `held_out` says that it was "client.test.jsonl".
std::string SourceName(const fs::path& path, bool& held_out) {
  const fs::path stem = path.stem();
  held_out = stem.extension() == ".test" || stem == "test";
  const bool part = stem.extension() == ".test" || stem.extension() == ".train";
  return part ? stem.stem().string() : stem.string();
}

// A name that is fit for a folder and for a table.
std::string Tidy(const std::string& name) {
  constexpr size_t kLongest = 24;
  std::string tidy;
  for (const char c : name.substr(0, kLongest)) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_';
    tidy.push_back(fine ? c : '-');
  }
  return tidy;
}

absl::StatusOr<std::vector<fs::path>> EntriesOf(const std::string& folder, bool folders) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path& path = it->path();
    if (path.filename().string().starts_with('.')) continue;
    const bool wanted =
        folders ? it->is_directory(error)
                : it->is_regular_file(error) && (path.extension() == ".jsonl" || IsText(path));
    if (wanted) paths.push_back(path);
  }
  if (error) {
    return BadInput("data", folder, absl::NotFoundError(error.message()),
                    "name a folder with a sub-folder for each node, or with JSONL files");
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// All files of a folder as one source, or one for each name.
absl::StatusOr<std::vector<DemoTexts>> ReadFiles(const std::string& folder,
                                                 const std::string& one_name) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<fs::path> files, EntriesOf(folder, false));
  std::map<std::string, DemoTexts> sources;
  for (const fs::path& file : files) {
    bool held_out = false;
    const std::string own_name = SourceName(file, held_out);
    DemoTexts& source = sources[one_name.empty() ? own_name : one_name];
    CHOIR_ASSIGN_OR_RETURN(Records records, ReadRecords(file));
    Append(held_out ? source.held_out : source.train, std::move(records));
  }
  std::vector<DemoTexts> result;
  for (auto& [name, source] : sources) {
    source.name = name;
    result.push_back(std::move(source));
  }
  return result;
}

// Two sources may have one name after tidying.
void MakeNamesDiffer(std::vector<DemoTexts>& nodes) {
  std::map<std::string, int> seen;
  for (DemoTexts& node : nodes) {
    node.name = Tidy(node.name);
    const int nth = ++seen[node.name];
    if (nth > 1) node.name += fmt::format("-{}", nth);
  }
}

}  // namespace

size_t DemoNodesFor(size_t sources) {
  return sources == kMinDemoNodes ? kMinDemoNodes : kDefaultDemoNodes;
}

absl::StatusOr<std::vector<DemoTexts>> DealTexts(std::vector<DemoTexts> sources, size_t nodes) {
  std::vector<DemoTexts> dealt(nodes);
  const bool whole = sources.size() >= nodes;
  DemoTexts all;
  for (size_t i = 0; i < sources.size(); ++i) {
    DemoTexts& to = whole ? dealt[i % nodes] : all;
    if (whole && sources.size() == nodes) to.name = sources[i].name;
    Append(to.train, std::move(sources[i].train));
    Append(to.held_out, std::move(sources[i].held_out));
  }
  for (size_t i = 0; i < nodes; ++i) {
    DemoTexts& node = dealt[i];
    if (node.name.empty()) node.name = fmt::format("node-{}", i + 1);
    if (!whole) {
      node.train = Stretch(all.train, i, nodes);
      node.held_out = Stretch(all.held_out, i, nodes);
    }
    const absl::Status enough = HoldOut(node);
    if (!enough.ok()) {
      return WithHint(enough, "use fewer --nodes, or more texts in --data");
    }
  }
  MakeNamesDiffer(dealt);
  return dealt;
}

absl::Status HoldOut(DemoTexts& texts) {
  const size_t needed = texts.held_out.empty() ? 2 : 1;
  if (texts.train.size() < needed) {
    return absl::InvalidArgumentError(
        fmt::format("node {} would have {} records to learn from, and needs {}", texts.name,
                    texts.train.size(), needed));
  }
  if (!texts.held_out.empty()) return absl::OkStatus();
  Records kept;
  for (size_t i = 0; i < texts.train.size(); ++i) {
    // The last of each ten, so that a file's heading stays among what is learned.
    const bool hold = i % kHoldOutEvery == kHoldOutEvery - 1 && texts.held_out.size() < kMaxHeldOut;
    (hold ? texts.held_out : kept).push_back(std::move(texts.train[i]));
  }
  if (texts.held_out.empty()) {
    texts.held_out.push_back(std::move(kept.back()));
    kept.pop_back();
  }
  texts.train = std::move(kept);
  return absl::OkStatus();
}

std::string PromptOf(std::string_view record) {
  const nlohmann::json json = nlohmann::json::parse(record, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return "";
  for (const char* key : {"prompt", "text"}) {
    const auto field = json.find(key);
    if (field == json.end() || !field->is_string()) continue;
    const std::string text = field->get<std::string>();
    size_t end = text.find_first_of(".!?\n", kMinPromptBytes);
    end = end == std::string::npos ? text.size() : end + 1;
    if (end > kMaxPromptBytes) end = text.find(' ', kMaxPromptBytes / 2);
    std::string prompt = text.substr(0, end);
    while (!prompt.empty() && (prompt.back() == '\n' || prompt.back() == ' ')) prompt.pop_back();
    return prompt;
  }
  return "";
}

absl::StatusOr<std::vector<DemoTexts>> ReadDemoSources(const std::string& folder) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<fs::path> folders, EntriesOf(folder, true));
  std::vector<DemoTexts> sources;
  for (const fs::path& path : folders) {
    CHOIR_ASSIGN_OR_RETURN(std::vector<DemoTexts> one,
                           ReadFiles(path.string(), path.filename().string()));
    if (!one.empty()) sources.push_back(std::move(one.front()));
  }
  if (sources.empty()) {
    CHOIR_ASSIGN_OR_RETURN(sources, ReadFiles(folder, ""));
  }
  if (!sources.empty()) return sources;
  return BadInput("data", folder, absl::NotFoundError("there is no .jsonl, .txt or .md file in it"),
                  "name a folder with a sub-folder for each node, or with JSONL files");
}

absl::Status WriteRecords(const std::string& path, const Records& records) {
  return AtomicWriteFile(path, fmt::format("{}\n", fmt::join(records, "\n")), 0600);
}

}  // namespace choir::cli
