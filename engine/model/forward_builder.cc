#include "engine/model/forward_builder.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/model/architecture.h"
#include "engine/model/model_tensors.h"

namespace choir::engine {

std::string CacheName(int64_t layer, std::string_view part) {
  return fmt::format("blk.{}.{}_cache", layer, part);
}

TensorId ForwardBuilder::Persistent(std::string_view name, TensorDesc desc) {
  const absl::StatusOr<TensorId> existing = graph_.Find(name);
  if (existing.ok()) return *existing;
  return graph_.AddPersistent(std::string(name), desc);
}

absl::StatusOr<TensorId> ForwardBuilder::Weight(std::string_view name) {
  CHOIR_ASSIGN_OR_RETURN(const GgufTensor* tensor, context_.file.GetTensor(name));
  CHOIR_ASSIGN_OR_RETURN(const TensorDesc desc, WeightDesc(*tensor));
  return Persistent(name, desc);
}

absl::StatusOr<TensorId> ForwardBuilder::One(std::string_view op, std::vector<TensorId> inputs,
                                             Attrs attrs) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> outputs,
                         graph_.AddNode(op, std::move(inputs), std::move(attrs)));
  return outputs[0];
}

absl::StatusOr<TensorId> ForwardBuilder::HiddenStates(TensorId ids) {
  CHOIR_CHECK(context_.packed.has_value() != context_.cached.has_value());
  CHOIR_ASSIGN_OR_RETURN(const Architecture* architecture, FindArchitecture(spec().architecture));
  CHOIR_ASSIGN_OR_RETURN(TensorId h, Embed(ids));
  for (size_t layer = 0; layer < spec().layers.size(); ++layer) {
    graph_.SetBlock(static_cast<int>(layer));
    CHOIR_ASSIGN_OR_RETURN(h, architecture->forward_layer(*this, static_cast<int64_t>(layer), h));
  }
  graph_.SetBlock(-1);
  return Norm("output_norm.weight", h);
}

absl::StatusOr<TensorId> ForwardBuilder::Embed(TensorId ids) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId table, Weight("token_embd.weight"));
  const Attrs attrs = {{"scale", spec().embedding_scale}, {"lora", 0}};
  const std::optional<Factors> factors = FactorsOf("token_embd.weight");
  if (!factors.has_value()) return One("embed", {ids, table}, attrs);
  // A lookup has no dropout, as in PEFT.
  return One("embed", {ids, table, factors->a, factors->b},
             attrs.With("lora", 1).With("lora_scale", factors->slot->scale));
}

absl::StatusOr<TensorId> ForwardBuilder::Linear(int64_t layer, std::string_view part, TensorId x) {
  CHOIR_ASSIGN_OR_RETURN(TensorId y, Project(LayerWeightName(layer, part), x));
  const std::string scale = LayerTensorName(layer, fmt::format("{}.scale", part));
  if (const GgufTensor* tensor = context_.file.FindTensor(scale); tensor != nullptr) {
    CHOIR_ASSIGN_OR_RETURN(const double factor, FactorOf(*tensor));
    CHOIR_ASSIGN_OR_RETURN(y, One("scale", {y}, {{"factor", factor}}));
  }
  const std::string bias = LayerTensorName(layer, fmt::format("{}.bias", part));
  if (context_.file.FindTensor(bias) == nullptr) return y;
  CHOIR_ASSIGN_OR_RETURN(const TensorId row, Weight(bias));
  return One("add_row", {y, row}, {});
}

absl::StatusOr<TensorId> ForwardBuilder::Project(const std::string& name, TensorId x) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId weight, Weight(name));
  const std::optional<Factors> factors = FactorsOf(name);
  if (!factors.has_value()) return One("linear", {x, weight}, {{"lora", 0}});
  std::vector<TensorId> inputs = {x, weight, factors->a, factors->b};
  const Attrs attrs = BypassAttributes(*factors, inputs);
  return One("linear", std::move(inputs), attrs);
}

std::optional<ForwardBuilder::Factors> ForwardBuilder::FactorsOf(std::string_view base_tensor) {
  const AdapterSlot* slot =
      context_.adapter == nullptr ? nullptr : context_.adapter->Find(base_tensor);
  if (slot == nullptr) return std::nullopt;
  return Factors{.slot = slot,
                 .a = Persistent(slot->a_name(), F32(slot->rank, slot->cols)),
                 .b = Persistent(slot->b_name(), F32(slot->rows, slot->rank))};
}

Attrs ForwardBuilder::BypassAttributes(const Factors& factors,
                                       std::vector<TensorId>& inputs) const {
  const Attrs attrs = {{"lora", 1}, {"lora_scale", factors.slot->scale}};
  if (!context_.dropout.has_value()) return attrs;
  inputs.push_back(context_.dropout->key);
  // A mask of its own for each adapted matrix, as PEFT's modules have.
  const auto site = static_cast<double>(factors.slot - context_.adapter->slots.data());
  return attrs.With("dropout", context_.dropout->rate).With("dropout_site", site);
}

absl::StatusOr<TensorId> ForwardBuilder::Norm(std::string_view weight, TensorId x, int64_t groups) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId w, Weight(weight));
  return One("rms_norm", {x, w},
             {{"eps", spec().rms_eps}, {"groups", static_cast<double>(groups)}});
}

absl::StatusOr<TensorId> ForwardBuilder::LayerNorm(int64_t layer, std::string_view part, TensorId x,
                                                   int64_t groups) {
  return Norm(LayerWeightName(layer, part), x, groups);
}

absl::StatusOr<TensorId> ForwardBuilder::Rope(int64_t layer, TensorId x) {
  const LayerSpec& own = spec().layers.at(static_cast<size_t>(layer));
  std::vector<TensorId> inputs = {x, context_.positions};
  if (spec().rope_factors) {
    CHOIR_ASSIGN_OR_RETURN(const TensorId factors, Weight("rope_freqs.weight"));
    inputs.push_back(factors);
  }
  return One("rope", std::move(inputs),
             {{"head_size", static_cast<double>(spec().head_size)},
              {"n_rot", static_cast<double>(spec().rope_dims)},
              {"base", own.rope_base},
              {"pos_scale", own.rope_pos_scale},
              {"halves", spec().rope_halves ? 1 : 0},
              {"inverse", 0}});
}

Attrs ForwardBuilder::AttentionAttributes(int64_t layer) const {
  const LayerSpec& own = spec().layers.at(static_cast<size_t>(layer));
  return {{"head_size", static_cast<double>(spec().head_size)},
          {"scale", spec().attention_scale},
          {"window", static_cast<double>(own.window)},
          {"softcap", spec().attention_softcap}};
}

absl::StatusOr<TensorId> ForwardBuilder::AppendToCache(int64_t layer, std::string_view part,
                                                       TensorId x) {
  CHOIR_ASSIGN_OR_RETURN(
      const TensorDesc desc,
      KvCacheDesc(context_.cached->type, context_.cached->cache_rows, spec().kv_cols()));
  const TensorId cache = Persistent(CacheName(layer, part), desc);
  CHOIR_RETURN_IF_ERROR(
      graph_.AddNode("kv_append", {x, context_.cached->start}, {}, {cache}).status());
  return cache;
}

absl::StatusOr<TensorId> ForwardBuilder::Attention(int64_t layer, TensorId q, TensorId k,
                                                   TensorId v) {
  const Attrs attrs = AttentionAttributes(layer);
  if (context_.packed.has_value()) {
    return One("attention", {q, k, v, context_.packed->segments}, attrs);
  }
  CHOIR_ASSIGN_OR_RETURN(const TensorId k_cache, AppendToCache(layer, "k", k));
  CHOIR_ASSIGN_OR_RETURN(const TensorId v_cache, AppendToCache(layer, "v", v));
  return One("cached_attention", {q, k_cache, v_cache, context_.cached->start}, attrs);
}

absl::StatusOr<TensorId> ForwardBuilder::Glu(TensorId gate, TensorId up) {
  return One("glu", {gate, up}, {{"act", static_cast<double>(spec().activation)}});
}

absl::StatusOr<TensorId> ForwardBuilder::Add(TensorId a, TensorId b) {
  return One("add", {a, b}, {});
}

absl::StatusOr<TensorId> ForwardBuilder::Logits(TensorId hidden) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId logits,
                         Project(std::string(spec().output_weight()), hidden));
  if (spec().logit_softcap == 0) return logits;
  return One("soft_cap", {logits}, {{"cap", spec().logit_softcap}});
}

}  // namespace choir::engine
