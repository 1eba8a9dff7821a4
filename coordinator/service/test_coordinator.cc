#include "coordinator/service/test_coordinator.h"

#include <utility>

#include <spdlog/spdlog.h>

#include "base/check.h"
#include "proto/trust/invite.h"

namespace choir::coordinator {

TestCoordinator::TestCoordinator(WrapStore wrap) : federation_(dir_.path() + "/data", clock_.now) {
  spdlog::set_level(spdlog::level::off);
  const DataFolder& folder = federation_.folder();
  loaded_ = std::make_unique<Federation>(LoadFederation(folder, clock_.now).value());
  store_ = StoreKinds()[0].open(folder.Database()).value();
  if (wrap) store_ = wrap(std::move(store_));
  blobs_ = OpenDirectoryBlobStore(folder.Blobs(), 1 << 30).value();
  coordinator_ = Coordinator::Open(*loaded_, folder, *store_, *blobs_, clock_, random_).value();
  coordinator_->members().SetAddresses({"localhost:2", "localhost:1"});
}

void TestCoordinator::AddNodes(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    clock_.now += absl::Seconds(1);
    const auto invite = coordinator_->members().CreateInvite(3600);
    CHOIR_CHECK(invite.ok());
    const std::string token = trust::DecodeInvite(invite->invite(), clock_.now)->token();
    nodes_.push_back(
        std::make_unique<TestNode>(nodes_.size(), loaded_->manifest.federation_id(), random_));
    const auto response = coordinator_->members().Enrol(nodes_.back()->EnrolRequest(token));
    CHOIR_CHECK(response.ok());
    nodes_.back()->Joined(*response);
  }
}

}  // namespace choir::coordinator
