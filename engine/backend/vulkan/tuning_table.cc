#include "engine/backend/vulkan/tuning_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace choir::engine::vulkan {
namespace {

// A name longer than any shader's, and sizes beyond any product's, are damage.
constexpr size_t kMaxNameBytes = 64;
constexpr uint32_t kMaxSize = 1u << 31;
constexpr uint32_t kMaxBlock = 64;

constexpr std::string_view kHeader = "choir-tuning";
constexpr std::array<std::pair<Verdict, std::string_view>, 3> kVerdicts = {{
    {Verdict::kTrying, "trying"},
    {Verdict::kRight, "right"},
    {Verdict::kWrong, "wrong"},
}};

uint32_t SizeClass(int64_t size) {
  const auto bounded = static_cast<uint32_t>(std::clamp<int64_t>(size, 1, kMaxSize));
  return std::bit_ceil(bounded);
}

std::string_view NameOfVerdict(Verdict verdict) {
  return kVerdicts.at(static_cast<size_t>(verdict)).second;
}

// "fp16 8 4"; fails the stream on anything else.
Choice ReadChoice(std::istringstream& fields) {
  std::string way;
  Choice choice;
  fields >> way >> choice.block.m >> choice.block.n;
  const std::optional<ProductWay> known = WayNamed(way);
  const Block& block = choice.block;
  if (!known || block.m == 0 || block.m > kMaxBlock || block.n == 0 || block.n > kMaxBlock) {
    fields.setstate(std::ios::failbit);
  }
  choice.way = known.value_or(ProductWay::kPlain);
  return choice;
}

std::string TextOf(const Choice& choice) {
  return fmt::format("{} {} {}", NameOf(choice.way), choice.block.m, choice.block.n);
}

}  // namespace

ProductClass ProductClass::Of(std::string_view shader, bool exact, int64_t rows, int64_t cols) {
  return {std::string(shader), exact, SizeClass(rows), SizeClass(cols)};
}

std::optional<Choice> TuningTable::Find(const ProductClass& product) const {
  const auto found = choices_.find(product);
  if (found == choices_.end()) return std::nullopt;
  return found->second;
}

void TuningTable::Set(const ProductClass& product, const Choice& choice) {
  if (choices_.size() >= kMaxEntries) choices_.clear();
  choices_[product] = choice;
}

std::optional<Verdict> TuningTable::Checked(std::string_view shader, const Choice& choice) const {
  const auto found = checks_.find({std::string(shader), choice});
  if (found == checks_.end()) return std::nullopt;
  return found->second;
}

void TuningTable::SetChecked(std::string_view shader, const Choice& choice, Verdict verdict) {
  if (checks_.size() >= kMaxEntries) checks_.clear();
  checks_[{std::string(shader), choice}] = verdict;
}

void TuningTable::Forget(std::string_view shader, const Choice& choice) {
  checks_.erase({std::string(shader), choice});
}

std::vector<std::string> TuningTable::Describe() const {
  std::map<std::string, std::set<std::string_view>> taken;
  for (const auto& [product, choice] : choices_) {
    if (!product.exact) taken[product.shader].insert(NameOf(choice.way));
  }
  std::vector<std::string> lines;
  lines.reserve(taken.size());
  for (const auto& [shader, ways] : taken) {
    lines.push_back(fmt::format("{}: {}", shader, fmt::join(ways, ", ")));
  }
  for (const auto& [checked, verdict] : checks_) {
    if (verdict == Verdict::kRight) continue;
    lines.push_back(fmt::format(
        "{}: never {}: {}", checked.first, TextOf(checked.second),
        verdict == Verdict::kWrong ? "the device does not get it right" : "a process ended at it"));
  }
  return lines;
}

std::string TuningTable::ToText(std::string_view version) const {
  std::string text = fmt::format("{} {}\n", kHeader, version);
  for (const auto& [product, choice] : choices_) {
    text += fmt::format("choice {} {} {} {} {}\n", product.shader, product.exact ? "exact" : "fast",
                        product.rows, product.cols, TextOf(choice));
  }
  for (const auto& [checked, verdict] : checks_) {
    text += fmt::format("check {} {} {}\n", checked.first, TextOf(checked.second),
                        NameOfVerdict(verdict));
  }
  return text;
}

void TuningTable::ReadLine(const std::string& line) {
  std::istringstream fields(line);
  std::string kind;
  std::string word;
  std::string rest;
  ProductClass product;
  fields >> kind >> product.shader;
  if (product.shader.size() > kMaxNameBytes) return;
  if (kind == "choice") {
    fields >> word >> product.rows >> product.cols;
    const Choice choice = ReadChoice(fields);
    product.exact = word == "exact";
    if (fields.fail() || fields >> rest || (!product.exact && word != "fast")) return;
    if (!std::has_single_bit(product.rows) || !std::has_single_bit(product.cols)) return;
    if (choices_.size() < kMaxEntries) choices_[product] = choice;
  } else if (kind == "check") {
    const Choice choice = ReadChoice(fields);
    fields >> word;
    const auto* verdict = std::find_if(kVerdicts.begin(), kVerdicts.end(),
                                       [&](const auto& each) { return each.second == word; });
    if (fields.fail() || fields >> rest || verdict == kVerdicts.end()) return;
    if (checks_.size() < kMaxEntries) checks_[{product.shader, choice}] = verdict->first;
  }
}

TuningTable TuningTable::FromText(std::string_view text, std::string_view version) {
  TuningTable table;
  std::istringstream lines{std::string(text)};
  std::string line;
  if (!std::getline(lines, line) || line != fmt::format("{} {}", kHeader, version)) return table;
  while (std::getline(lines, line)) table.ReadLine(line);
  return table;
}

}  // namespace choir::engine::vulkan
