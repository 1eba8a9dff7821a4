#ifndef CHOIR_PRIVACY_ADAPTIVE_CLIP_H_
#define CHOIR_PRIVACY_ADAPTIVE_CLIP_H_

namespace choir::privacy {

// Andrew, Thakkar, McMahan, Ramaswamy 2021, "Differentially Private Learning with Adaptive
// Clipping": the clip norm moves until the wanted share of nodes is not clipped.
struct AdaptiveClip {
  double target_unclipped = 0.5;
  double learning_rate = 0.2;
};

// The next round's clip norm: S * exp(-rate * (unclipped - target)). `unclipped` is the share of
// nodes that were not clipped; under noise it may lie outside [0, 1], and is brought back. The
// result stays within a factor of 1,000 of `first`, the run's first norm.
double NextClipNorm(double clip_norm, double unclipped, const AdaptiveClip& settings, double first);

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_ADAPTIVE_CLIP_H_
