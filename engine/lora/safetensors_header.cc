#include "engine/lora/safetensors_header.h"

#include <set>
#include <utility>

#include <fmt/format.h>

#include "engine/lora/safetensors.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

constexpr std::string_view kMetadata = "__metadata__";

// A name as it may stand in a message.
std::string Shown(std::string_view name) {
  std::string out(name.substr(0, 80));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

// Takes the parser's events. Depth 1 is the header's object, depth 2 a tensor's or the metadata's,
// depth 3 an array of a tensor. Every function returns whether to go on.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  absl::StatusOr<SafetensorsHeader> Take(bool parsed) && {
    if (!status_.ok()) return status_;
    if (!parsed) return absl::DataLossError("safetensors: the header is no JSON object");
    return std::move(header_);
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool /*value*/) override { return Unexpected("a boolean"); }
  bool number_integer(int64_t /*value*/) override { return Unexpected("a negative number"); }
  bool number_float(double /*value*/, const std::string& /*text*/) override {
    return Unexpected("a number that is no count");
  }
  bool binary(nlohmann::json::binary_t& /*value*/) override { return Unexpected("bytes"); }

  bool number_unsigned(uint64_t value) override {
    if (depth_ != 3) return Unexpected("a number");
    const bool is_shape = field_ == "shape";
    if (count_ == (is_shape ? entry_.shape.size() : entry_.offsets.size())) {
      return Refuse(absl::StatusCode::kInvalidArgument,
                    fmt::format("{} has more than {} numbers", field_, count_));
    }
    (is_shape ? entry_.shape[count_] : entry_.offsets[count_]) = value;
    ++count_;
    return true;
  }

  bool string(std::string& value) override {
    if (depth_ != 2 || !(in_metadata_ || field_ == "dtype")) return Unexpected("a text");
    if (in_metadata_) {
      header_.metadata[field_] = value;
    } else {
      // A long text is no dtype either; the message need not carry it.
      entry_.dtype = value.substr(0, 16);
    }
    return true;
  }

  bool start_object(size_t /*elements*/) override {
    if (depth_ >= 2) return Unexpected("an object");
    if (++depth_ == 2) fields_.clear();
    return true;
  }

  bool key(std::string& name) override {
    if (depth_ == 1) return StartEntry(name);
    if (!fields_.insert(name).second) {
      return Refuse(absl::StatusCode::kDataLoss, fmt::format("{} stands twice", Shown(name)));
    }
    if (in_metadata_ && fields_.size() > SafetensorsFile::kMaxMetadata) {
      return Refuse(absl::StatusCode::kInvalidArgument,
                    fmt::format("more than {} entries", SafetensorsFile::kMaxMetadata));
    }
    if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets") {
      return Refuse(absl::StatusCode::kInvalidArgument,
                    fmt::format("the field {} is not known", Shown(name)));
    }
    field_ = name;
    return true;
  }

  bool end_object() override {
    --depth_;
    if (depth_ != 1 || in_metadata_) return true;
    if (fields_.size() != 3) {
      return Refuse(absl::StatusCode::kDataLoss, "dtype, shape or data_offsets is missing");
    }
    header_.entries.push_back(std::move(entry_));
    return true;
  }

  bool start_array(size_t /*elements*/) override {
    if (depth_ != 2 || in_metadata_ || field_ == "dtype") return Unexpected("an array");
    ++depth_;
    count_ = 0;
    return true;
  }

  bool end_array() override {
    --depth_;
    if (field_ == "shape") {
      entry_.num_dims = static_cast<uint32_t>(count_);
    } else if (count_ != 2) {
      return Refuse(absl::StatusCode::kDataLoss,
                    fmt::format("data_offsets has {} numbers, not 2", count_));
    }
    return true;
  }

  bool parse_error(size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    status_ =
        absl::DataLossError(fmt::format("safetensors: the header is no JSON at byte {}", position));
    return false;
  }

 private:
  bool StartEntry(const std::string& name) {
    entry_ = {};
    in_metadata_ = name == kMetadata;
    if (name.empty() || name.size() > SafetensorsFile::kMaxNameBytes) {
      return Refuse(absl::StatusCode::kInvalidArgument,
                    fmt::format("a name has {} bytes, not 1 to {}", name.size(),
                                SafetensorsFile::kMaxNameBytes));
    }
    entry_.name = name;
    if (!names_.insert(name).second) {
      return Refuse(absl::StatusCode::kDataLoss, "the name stands twice");
    }
    if (names_.size() > SafetensorsFile::kMaxTensors) {
      return Refuse(absl::StatusCode::kInvalidArgument,
                    fmt::format("more than {} tensors", SafetensorsFile::kMaxTensors));
    }
    return true;
  }

  bool Unexpected(std::string_view what) {
    return Refuse(absl::StatusCode::kDataLoss, fmt::format("{} where none belongs", what));
  }

  bool Refuse(absl::StatusCode code, std::string_view why) {
    status_ = absl::Status(
        code, fmt::format("safetensors: header entry {}: {}", Shown(entry_.name), why));
    return false;
  }

  SafetensorsHeader header_;
  SafetensorsEntry entry_;
  std::set<std::string> names_;
  std::set<std::string> fields_;  // of the entry
  std::string field_;
  size_t count_ = 0;  // of the array
  int depth_ = 0;
  bool in_metadata_ = false;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json) {
  HeaderReader reader;
  const bool parsed = nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  return std::move(reader).Take(parsed);
}

}  // namespace choir::engine
