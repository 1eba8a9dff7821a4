#ifndef CHOIR_NODE_POLICY_DEVICE_CONDITIONS_H_
#define CHOIR_NODE_POLICY_DEVICE_CONDITIONS_H_

// What the device is going through right now: power, heat, load, network.

#include <cstdint>
#include <optional>
#include <string>

namespace choir::node {

struct DeviceConditions {
  bool on_battery = false;                // a battery is discharging
  std::optional<double> battery_percent;  // none without a battery
  std::optional<double> temperature_c;    // the hottest sensor
  double load_per_core = 0;               // one-minute load average / cores
  std::string network_interface;          // that has the default route; empty: offline or unknown
  uint64_t free_memory_bytes = 0;
};

// Reads Linux's /sys and /proc under `root` (normally empty). What cannot be read is left out.
DeviceConditions ReadDeviceConditions(const std::string& root = "");

}  // namespace choir::node

#endif  // CHOIR_NODE_POLICY_DEVICE_CONDITIONS_H_
