#include "cli/recompute_option.h"

#include <fmt/format.h>

#include "cli/command.h"

namespace choir::cli {
namespace {

constexpr const char* kSelective = "selective";
constexpr const char* kFull = "full";

}  // namespace

void AddRecomputeOption(CLI::App& app, std::string& name, const char* group) {
  app.add_option("--recompute", name,
                 "What the backward pass computes again, to need less memory: off, selective (what "
                 "is cheap; the rest waits in 16 or 8 bits beside bf16 products), full (every "
                 "block), or auto (the quickest that the memory allows)")
      ->check(OneOf({"auto", "off", kSelective, kFull}))
      ->type_name("LEVEL")
      ->capture_default_str()
      ->group(group);
}

engine::Recompute RecomputeOf(std::string_view name) {
  if (name == kFull) return engine::Recompute::kFull;
  if (name == kSelective) return engine::Recompute::kSelective;
  return name == "off" ? engine::Recompute::kOff : engine::Recompute::kAuto;
}

std::string_view NameOf(engine::KeptActivations kept) {
  switch (kept) {
    case engine::KeptActivations::kAll:
      return "all";
    case engine::KeptActivations::kProducts:
      return "selective";
    case engine::KeptActivations::kPackedProducts:
      return "packed";
  }
  return "";
}

std::string DescribeKept(engine::KeptActivations kept, int64_t recomputed_blocks, int64_t blocks) {
  std::string text;
  if (kept != engine::KeptActivations::kAll) text = kSelective;
  if (kept == engine::KeptActivations::kPackedProducts) text += ", packed";
  if (recomputed_blocks == 0) return text;
  return fmt::format("{}{}{} of {} blocks recomputed", text, text.empty() ? "" : ", ",
                     recomputed_blocks, blocks);
}

}  // namespace choir::cli
