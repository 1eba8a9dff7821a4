#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/server/server_state.h"

namespace choir::secagg {
namespace {

using State = ServerSession::State;

// The reason why a stage with too few answers ends the session.
AbortReason TooFew(ServerStage stage) {
  switch (stage) {
    case ServerStage::kAdvertising:
      return AbortReason::kCohortBelowMinimum;
    case ServerStage::kSharing:
      return AbortReason::kTooFewShareholders;
    case ServerStage::kMasking:
      return AbortReason::kTooFewSurvivors;
    case ServerStage::kSigning:
      return AbortReason::kTooFewSignatures;
    default:
      return AbortReason::kTooFewUnmaskShares;
  }
}

// The neighbours of `to` that have what `has` asks for, by id.
template <typename Has>
std::vector<NodeId> NeighboursWith(const State& state, const NodeId& to, Has has) {
  std::vector<NodeId> ids;
  for (const uint32_t place : state.graph.Neighbours(*IndexOf(state.list, to))) {
    const NodeId& id = state.list.entries[place].keys.node_id;
    if (has(state.nodes.at(id))) ids.push_back(id);
  }
  return ids;
}

// What the neighbours in U2 sealed for `to`.
std::vector<SealedShare> SealedFor(const State& state, const NodeId& to) {
  std::vector<SealedShare> shares;
  const auto shared = [](const Participant& node) { return node.shared.has_value(); };
  for (const NodeId& from : NeighboursWith(state, to, shared)) {
    const std::vector<SealedShare>& sealed = state.nodes.at(from).shared->shares;
    const auto share = std::ranges::lower_bound(sealed, to, {}, &SealedShare::node_id);
    shares.push_back({from, share->sealed});
  }
  return shares;
}

std::vector<uint8_t> KeysFor(const State& state, const NodeId& to) {
  if (!state.regular()) return Encode(state.list);
  const uint32_t own = *IndexOf(state.list, to);
  std::vector<uint32_t> places = state.graph.Neighbours(own);
  places.insert(std::ranges::lower_bound(places, own), own);
  NeighbourList list = state.neighbour_list;
  for (const uint32_t place : places) {
    list.entries.push_back({place, state.list.entries[place], state.key_tree->Path(place)});
  }
  return Encode(list);
}

std::vector<uint8_t> DeliveryFor(const State& state, const NodeId& to) {
  if (!state.regular()) {
    return Encode(ShareDelivery{state.config.session_id, state.members, SealedFor(state, to)});
  }
  NeighbourDelivery delivery = state.neighbour_delivery;
  delivery.shares = SealedFor(state, to);
  return Encode(delivery);
}

std::vector<uint8_t> SurvivorsFor(const State& state, const NodeId& to) {
  if (!state.regular()) return Encode(state.survivors);
  NeighbourSurvivors message = state.neighbour_survivors;
  const auto own = std::ranges::find(state.survivors.survivors, to, &Survivor::node_id);
  message.path =
      state.input_tree->Path(static_cast<uint32_t>(own - state.survivors.survivors.begin()));
  return Encode(message);
}

std::vector<uint8_t> SignaturesFor(const State& state, const NodeId& to) {
  if (state.graph.shape().complete()) return Encode(state.signatures);
  SurvivorSignatures message{state.config.session_id, state.h3, {}};
  const auto vouched = [](const Participant& node) { return node.vouched.has_value(); };
  for (const NodeId& id : NeighboursWith(state, to, vouched)) {
    message.signatures.push_back({id, state.nodes.at(id).vouched->signature});
  }
  return Encode(message);
}

}  // namespace

uint32_t ServerSession::State::needed() const {
  return std::max(graph.shape().quorum, config.min_cohort);
}

MaskShape ServerSession::State::mask_shape() const {
  return {config.prg, config.word_bits, NumWords(CodecOf(config))};
}

std::vector<NodeId> ServerSession::State::Expected() const {
  std::vector<NodeId> ids;
  for (const auto& [id, node] : nodes) {
    const bool expected = stage == ServerStage::kSharing ||
                          (stage == ServerStage::kMasking && node.shared.has_value()) ||
                          (stage == ServerStage::kSigning && node.input.has_value()) ||
                          (stage == ServerStage::kUnmasking && node.vouched.has_value());
    if (expected) ids.push_back(id);
  }
  return ids;
}

bool ServerSession::State::HasAnswered(const NodeId& node) const {
  const Participant& from = nodes.at(node);
  return stage == ServerStage::kSharing   ? from.shared.has_value()
         : stage == ServerStage::kMasking ? from.input.has_value()
         : stage == ServerStage::kSigning ? from.vouched.has_value()
                                          : from.answered.has_value();
}

void ServerSession::State::ComputeTranscript() {
  h0 = HashConfig(config);
  list = {config.session_id, {}};
  members.clear();
  survivors = {config.session_id, {}, {}};
  signatures = {config.session_id, {}, {}};
  for (const auto& [id, node] : nodes) {
    list.entries.push_back({node.device_key, node.credential, *node.advertised});
    if (!node.shared.has_value()) continue;
    members.push_back(id);
    if (node.input.has_value()) {
      survivors.survivors.push_back({id, node.input->input_hash});
    } else {
      survivors.dropped.push_back(id);
    }
    if (node.vouched.has_value()) signatures.signatures.push_back({id, node.vouched->signature});
  }
  if (regular()) return ComputeRegularTranscript();
  h1 = HashKeyList(h0, list);
  const auto size = static_cast<uint32_t>(list.entries.size());
  if (size > 0) graph = CohortGraph(ShapeOf(config, size), GraphSeed(h1));
  h2 = HashMembers(h1, members);
  h3 = HashSurvivors(h2, survivors);
  signatures.h3 = h3;
}

void ServerSession::State::ComputeRegularTranscript() {
  if (list.entries.empty()) return;
  const auto size = static_cast<uint32_t>(list.entries.size());
  const GraphShape shape = graph.size() == size ? graph.shape() : ShapeOf(config, size);
  std::vector<Digest> leaves;
  std::vector<bool> shared(size);
  std::vector<bool> survived(size);
  std::vector<Digest> inputs;
  for (uint32_t place = 0; place < size; ++place) {
    leaves.push_back(HashKeyLeaf(place, list.entries[place]));
    const Participant& node = nodes.at(list.entries[place].keys.node_id);
    shared[place] = node.shared.has_value();
    survived[place] = shared[place] && node.input.has_value();
    if (!survived[place]) continue;
    inputs.push_back(HashInputLeaf(static_cast<uint32_t>(inputs.size()), node.input->input_hash));
  }
  key_tree.emplace(std::move(leaves));
  const SessionId& id = config.session_id;
  neighbour_list = {id, size, shape.degree, shape.threshold, key_tree->root(), {}};
  h1 = HashNeighbourList(h0, neighbour_list);
  graph = CohortGraph(shape, GraphSeed(h1));
  neighbour_delivery = {id, PackPlaces(shared), {}};
  h2 = HashMemberBits(h1, neighbour_delivery.members);
  if (inputs.empty()) return;
  input_tree.emplace(std::move(inputs));
  neighbour_survivors = {id, PackPlaces(survived), input_tree->root(), {}};
  h3 = HashNeighbourSurvivors(h2, neighbour_survivors);
  signatures.h3 = h3;
}

bool ServerSession::State::AnswersCover() const {
  if (stage == ServerStage::kAdvertising) return true;
  std::vector<bool> owners(list.entries.size());
  std::vector<bool> present(list.entries.size());
  for (uint32_t place = 0; place < list.entries.size(); ++place) {
    const NodeId& id = list.entries[place].keys.node_id;
    owners[place] = nodes.at(id).shared.has_value();
    present[place] = HasAnswered(id);
  }
  return graph.Covers(owners, present);
}

absl::Status ServerSession::State::ReadSum() {
  SessionSum found;
  CHOIR_ASSIGN_OR_RETURN(
      found.cohort,
      DecodeSum(CodecOf(config), accumulator, static_cast<uint32_t>(survivors.survivors.size())));
  found.packed = accumulator;
  found.sum_hash = Sha256Of(accumulator);
  found.h3 = h3;
  for (const Survivor& survivor : survivors.survivors) {
    found.contributors.push_back(survivor.node_id);
  }
  sum = std::move(found);
  return absl::OkStatus();
}

std::vector<NodeId> ServerSession::Waiting() const {
  std::vector<NodeId> waiting;
  for (NodeId& id : state_->Expected()) {
    if (!state_->HasAnswered(id) && !state_->nodes.at(id).withdrawn) {
      waiting.push_back(std::move(id));
    }
  }
  return waiting;
}

bool ServerSession::StageComplete() const {
  if (state_->over() || !InputsToReplay().empty()) return false;
  if (state_->stage == ServerStage::kAdvertising) {
    return state_->nodes.size() == state_->config.max_cohort;
  }
  return Waiting().empty();
}

bool ServerSession::CanClose() const {
  return !state_->over() && InputsToReplay().empty() && answered() >= needed() &&
         state_->AnswersCover();
}

uint32_t ServerSession::answered() const {
  if (state_->stage == ServerStage::kAdvertising) {
    return static_cast<uint32_t>(state_->nodes.size());
  }
  const std::vector<NodeId> expected = state_->Expected();
  return static_cast<uint32_t>(
      std::ranges::count_if(expected, [&](const NodeId& id) { return state_->HasAnswered(id); }));
}

uint32_t ServerSession::needed() const {
  switch (state_->stage) {
    case ServerStage::kAdvertising:
      return state_->config.min_cohort;
    case ServerStage::kSharing:
    case ServerStage::kMasking:
      return state_->needed();
    case ServerStage::kSigning:
    case ServerStage::kUnmasking:
      return state_->graph.threshold();
    default:
      return 0;
  }
}

absl::Status ServerSession::CloseStage(ParallelFor parallel) {
  State& state = *state_;
  if (state.over()) {
    return Refusal(AbortReason::kSessionOver,
                   fmt::format("the session is {}", ServerStageName(state.stage)));
  }
  if (const size_t replay = InputsToReplay().size(); replay > 0) {
    return Refusal(AbortReason::kUnexpectedMessage,
                   fmt::format("{} inputs must be read from their spools first", replay));
  }
  if (answered() < needed() || !state.AnswersCover()) {
    const AbortReason reason = TooFew(state.stage);
    absl::Status refusal =
        Refusal(reason, fmt::format("{} nodes while {}; {} are needed{}", answered(),
                                    ServerStageName(state.stage), needed(),
                                    state.regular() ? ", and enough neighbours of each" : ""));
    Abort(reason);
    return refusal;
  }
  state.ComputeTranscript();
  if (state.stage == ServerStage::kUnmasking) {
    absl::Status opened = RemoveMasks(state, parallel);
    if (opened.ok()) opened = state.ReadSum();
    if (!opened.ok()) {
      Abort(ReasonOf(opened).value_or(AbortReason::kSumInconsistent));
      return opened;
    }
  }
  state.stage = static_cast<ServerStage>(static_cast<uint8_t>(state.stage) + 1);
  if (state.stage == ServerStage::kMasking) {
    state.accumulator.assign(PackedBytes(CodecOf(state.config)), 0);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>> ServerSession::MessageFor(const NodeId& node) const {
  const State& state = *state_;
  if (state.over()) {
    return Refusal(AbortReason::kSessionOver,
                   fmt::format("the session is {}", ServerStageName(state.stage)));
  }
  if (state.stage == ServerStage::kAdvertising) return Encode(state.config);
  const std::vector<NodeId> expected = state.Expected();
  if (!std::ranges::binary_search(expected, node) || state.nodes.at(node).withdrawn) {
    return Refusal(AbortReason::kLeftOut, "the session goes on without this node");
  }
  switch (state.stage) {
    case ServerStage::kSharing:
      return KeysFor(state, node);
    case ServerStage::kMasking:
      return DeliveryFor(state, node);
    case ServerStage::kSigning:
      return SurvivorsFor(state, node);
    default:
      return SignaturesFor(state, node);
  }
}

NodeState ServerSession::StateOf(const NodeId& node) const {
  const auto found = state_->nodes.find(node);
  if (found == state_->nodes.end()) return NodeState::kUnknown;
  const Participant& from = found->second;
  if (from.answered.has_value()) return NodeState::kAnswered;
  if (from.vouched.has_value()) return NodeState::kSigned;
  if (from.input.has_value()) return NodeState::kIncluded;
  const bool missed = (state_->stage > ServerStage::kSharing && !from.shared.has_value()) ||
                      state_->stage > ServerStage::kMasking;
  if (from.withdrawn || missed) return NodeState::kDropped;
  return from.shared.has_value() ? NodeState::kShared : NodeState::kAdvertised;
}

const std::vector<NodeId>& ServerSession::liars() const {
  return state_->liars;
}

std::vector<NodeId> ServerSession::Members() const {
  std::vector<NodeId> ids;
  for (const auto& [id, node] : state_->nodes) ids.push_back(id);
  return ids;
}

std::vector<NodeId> ServerSession::InputsToReplay() const {
  std::vector<NodeId> ids;
  if (state_->over()) return ids;
  for (const auto& [id, node] : state_->nodes) {
    if (node.input.has_value() && !node.accumulated) ids.push_back(id);
  }
  return ids;
}

}  // namespace choir::secagg
