#include "coordinator/service/test_coordinator.h"

#include <utility>

#include <spdlog/spdlog.h>

#include "base/check.h"
#include "proto/trust/invite.h"

namespace choir::coordinator {

TestCoordinator::TestCoordinator(WrapStore wrap)
    : federation_(dir_.path() + "/data", clock_.now), wrap_(std::move(wrap)) {
  spdlog::set_level(spdlog::level::off);
  Open();
}

void TestCoordinator::Open() {
  const DataFolder& folder = federation_.folder();
  loaded_ = std::make_unique<Federation>(LoadFederation(folder, clock_.now).value());
  store_ = StoreKinds()[0].open(folder.Database()).value();
  if (wrap_) store_ = wrap_(std::move(store_));
  blobs_ = OpenDirectoryBlobStore(folder.Blobs(), 1 << 30).value();
  coordinator_ = Coordinator::Open(*loaded_, folder, *store_, *blobs_, clock_, random_).value();
  coordinator_->members().SetAddresses({"localhost:2", "localhost:1"});
}

void TestCoordinator::Restart() {
  coordinator_.reset();
  blobs_.reset();
  store_.reset();
  Open();
}

std::string TestCoordinator::Token() {
  const auto invite = coordinator_->members().CreateInvite(3600);
  CHOIR_CHECK(invite.ok());
  return trust::DecodeInvite(invite->invite(), clock_.now)->token();
}

void TestCoordinator::AddNodes(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    clock_.now += absl::Seconds(1);
    nodes_.push_back(
        std::make_unique<TestNode>(nodes_.size(), loaded_->manifest.federation_id(), random_));
    const auto response = coordinator_->members().Enrol(nodes_.back()->EnrolRequest(Token()));
    CHOIR_CHECK(response.ok());
    nodes_.back()->Joined(*response);
  }
}

}  // namespace choir::coordinator
