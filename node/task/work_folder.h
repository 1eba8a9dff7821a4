#ifndef CHOIR_NODE_TASK_WORK_FOLDER_H_
#define CHOIR_NODE_TASK_WORK_FOLDER_H_

// The one piece of work that a node has in hand, on disk, so that a restart goes on from there.
// What has been done is told by which files exist:
//   task.pb            the offer that was accepted             (accepted)
//   adapter.gguf       the adapter to start from               (fetched)
//   basis.gguf         the basis of its cores, if it has one
//   job/...            the worker's folder: checkpoint, then delta.f32 and result.json (trained)
//   session.journal    the secure-aggregation session's secret state (in a session)

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "choir/v1/node.pb.h"

namespace choir::node {

class WorkFolder {
 public:
  explicit WorkFolder(std::string path) : path_(std::move(path)) {}

  // Makes the folder and stores the offer durably; FAILED_PRECONDITION if there is work in hand.
  absl::Status Begin(const v1::CheckInResponse::Task& offer) const;
  // Nothing, if there is no work. DATA_LOSS if the file is damaged.
  absl::StatusOr<std::optional<v1::CheckInResponse::Task>> Load() const;

  [[nodiscard]] std::string AdapterPath() const { return path_ + "/adapter.gguf"; }
  [[nodiscard]] std::string BasisPath() const { return path_ + "/basis.gguf"; }
  [[nodiscard]] std::string JobPath() const { return path_ + "/job"; }
  [[nodiscard]] bool HasAdapter() const;

  // The journal is a secret: mode 0600, flushed before anything is sent.
  absl::Status SaveJournal(std::span<const uint8_t> journal) const;
  absl::StatusOr<std::optional<std::vector<uint8_t>>> LoadJournal() const;
  // After a session that ended before this node's input left it: the delta may join another.
  absl::Status DropJournal() const;

  // All done, or given up: the folder goes, all or nothing.
  absl::Status Finish() const;

 private:
  std::string path_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_WORK_FOLDER_H_
