#include "node/policy/device_conditions.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>
#include <vector>

namespace choir::node {
namespace {

std::string FirstLine(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<double> NumberIn(const std::filesystem::path& path) {
  std::istringstream stream(FirstLine(path));
  double value = 0;
  if (!(stream >> value)) return std::nullopt;
  return value;
}

std::vector<std::filesystem::path> Entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    out.push_back(it->path());
  }
  return out;
}

void ReadPower(const std::string& root, DeviceConditions& conditions) {
  for (const auto& supply : Entries(root + "/sys/class/power_supply")) {
    // A mouse or a headset has a battery, too, but its scope is "Device".
    if (FirstLine(supply / "type") != "Battery" || FirstLine(supply / "scope") == "Device")
      continue;
    conditions.on_battery = conditions.on_battery || FirstLine(supply / "status") == "Discharging";
    const std::optional<double> percent = NumberIn(supply / "capacity");
    if (percent.has_value()) {
      conditions.battery_percent = std::min(conditions.battery_percent.value_or(100.0), *percent);
    }
  }
}

void ReadHeat(const std::string& root, DeviceConditions& conditions) {
  for (const auto& zone : Entries(root + "/sys/class/thermal")) {
    const std::optional<double> milli = NumberIn(zone / "temp");
    if (!milli.has_value() || *milli <= 0 || *milli > 150000) continue;
    conditions.temperature_c = std::max(conditions.temperature_c.value_or(0.0), *milli / 1000.0);
  }
}

void ReadNetwork(const std::string& root, DeviceConditions& conditions) {
  std::ifstream routes(root + "/proc/net/route");
  std::string line;
  std::getline(routes, line);  // the heading
  while (std::getline(routes, line)) {
    std::istringstream fields(line);
    std::string interface;
    std::string destination;
    if (fields >> interface >> destination && destination == "00000000") {
      conditions.network_interface = interface;
      return;
    }
  }
}

void ReadMemory(const std::string& root, DeviceConditions& conditions) {
  std::ifstream info(root + "/proc/meminfo");
  std::string key;
  uint64_t kibibytes = 0;
  std::string unit;
  while (info >> key >> kibibytes) {
    std::getline(info, unit);
    if (key == "MemAvailable:") {
      conditions.free_memory_bytes = kibibytes * 1024;
      return;
    }
  }
}

}  // namespace

DeviceConditions ReadDeviceConditions(const std::string& root) {
  DeviceConditions conditions;
  ReadPower(root, conditions);
  ReadHeat(root, conditions);
  ReadNetwork(root, conditions);
  ReadMemory(root, conditions);
  const double cores = std::max(1u, std::thread::hardware_concurrency());
  conditions.load_per_core = NumberIn(root + "/proc/loadavg").value_or(0) / cores;
  return conditions;
}

}  // namespace choir::node
