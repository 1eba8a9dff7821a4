#include "privacy/adaptive_clip.h"

#include <algorithm>
#include <cmath>

namespace choir::privacy {

double NextClipNorm(double clip_norm, double unclipped, const AdaptiveClip& settings,
                    double first) {
  const double share = std::clamp(unclipped, 0.0, 1.0);
  const double next =
      clip_norm * std::exp(-settings.learning_rate * (share - settings.target_unclipped));
  return std::clamp(next, first / 1000, first * 1000);
}

}  // namespace choir::privacy
