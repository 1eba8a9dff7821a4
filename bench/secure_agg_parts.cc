#include "bench/secure_agg_parts.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>

#include "absl/functional/function_ref.h"
#include <fmt/format.h>

#include "base/parallel.h"
#include "secure-agg/core/chunks.h"
#include "secure-agg/core/masking.h"

namespace choir::bench {
namespace {

using secagg::Mask;
using secagg::MaskStream;
using secagg::Prg;

// The best of three: what else the machine does only makes it slower.
double Seconds(absl::FunctionRef<void()> work) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count());
  }
  return best;
}

SecretBytes<32> Key(uint32_t number) {
  std::array<uint8_t, 32> bytes{};
  std::memcpy(bytes.data(), &number, sizeof(number));
  return SecretBytes<32>(bytes);
}

std::vector<Mask> MakeMasks(uint32_t count) {
  std::vector<Mask> masks;
  for (uint32_t i = 0; i < count; ++i) masks.push_back({Key(i), i % 2 == 0});
  return masks;
}

// The key stream alone, into a buffer that stays in the cache, on so many threads at once.
double RawStream(Prg prg, size_t threads) {
  constexpr size_t kPasses = 40'000;
  const Threads run(threads);
  const double seconds = Seconds([&] {
    run(threads, [&](size_t i) {
      std::vector<uint8_t> block(9216);
      MaskStream stream(prg, Key(static_cast<uint32_t>(i)));
      for (size_t pass = 0; pass < kPasses; ++pass) stream.Next(block);
    });
  });
  return static_cast<double>(threads * kPasses * 9216) / seconds / 1e9;
}

const char* NameOf(Prg prg) {
  return prg == Prg::kAes256Ctr ? "AES-256-CTR" : "ChaCha20";
}

}  // namespace

std::vector<PartFigure> MeasureMasking(const PartsShape& shape, Prg prg) {
  std::vector<PartFigure> figures;
  const double raw = RawStream(prg, shape.threads);
  figures.push_back({fmt::format("{} alone", NameOf(prg)), raw, 0});
  const auto add = [&](std::string name, uint64_t words, uint32_t count, uint32_t bits) {
    std::vector<uint8_t> packed(words * bits / 8);
    const std::vector<Mask> masks = MakeMasks(count);
    const Threads run(shape.threads);
    const double seconds = Seconds([&] { ApplyMasks(packed, bits, prg, masks, run); });
    const double speed = static_cast<double>(packed.size()) * count / seconds / 1e9;
    figures.push_back({std::move(name), speed, speed / raw});
  };
  for (const uint32_t bits : {32u, 24u, 16u}) {
    add(fmt::format("mask {} words of {} bits for {} nodes", shape.mask_words, bits, shape.nodes),
        shape.mask_words, shape.nodes, bits);
  }
  const uint32_t survivors = shape.nodes - shape.dropped;
  add(fmt::format("unmask {} words, {} of {} dropped", shape.unmask_words, shape.dropped,
                  shape.nodes),
      shape.unmask_words, survivors + survivors * shape.dropped, 32);
  return figures;
}

std::vector<PartFigure> MeasureIngest(const PartsShape& shape) {
  // Whole words of every size.
  std::vector<uint8_t> accumulator(shape.mask_words * 4 / 12 * 12, 1);
  const std::vector<uint8_t> input(accumulator.size(), 7);
  const auto bytes = static_cast<double>(input.size());
  // The fair measure of the memory is the same traffic with the least work: two vectors of the same
  // sizes read and one of the two written again, 64 bits at a time. A third vector to write to
  // would be read first by most processors, and look slower than it is.
  std::vector<uint64_t> sum(input.size() / 8, 1);
  std::vector<uint64_t> addend(sum.size(), 7);
  const double add = Seconds([&] {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += addend[i];
  });
  std::vector<uint8_t> third(input.size(), 3);
  const double copy = Seconds([&] { std::memcpy(third.data(), input.data(), input.size()); });
  const double memory = std::max(3 * bytes / add, 2 * bytes / copy) / 1e9;
  std::vector<PartFigure> figures = {{"memory (add in place)", 3 * bytes / add / 1e9, 0},
                                     {"memory (copy)", 2 * bytes / copy / 1e9, 0}};
  for (const uint32_t bits : {32u, 24u, 16u}) {
    const double seconds = Seconds([&] { secagg::AddWords(accumulator, input, bits); });
    const double speed = 3 * bytes / seconds / 1e9;
    figures.push_back(
        {fmt::format("add a masked vector of {}-bit words", bits), speed, speed / memory});
  }
  const double hashed = Seconds([&] {
    third[0] ^= secagg::HashInput(input, secagg::kMaxChunkBytes)[0];
    secagg::AddWords(accumulator, input, 32);
  });
  figures.push_back({"the same with the hash of its upload", bytes / hashed / 1e9, 0});
  return figures;
}

double UploadExpansionPercent(uint64_t words, uint32_t nodes) {
  using namespace secagg;
  const NodeId id(32, 'n');
  const uint64_t packed = words * 4;
  uint64_t sent = Encode(AdvertiseKeys{{}, id, {}, {}, {}, {}, {}}).size();
  const std::vector<SealedShare> shares(nodes - 1, SealedShare{id, {}});
  sent += Encode(ShareKeys{{}, id, shares, {}}).size();
  sent += Encode(MaskedInputHeader{{}, id, 0, 0, {}, {}}).size();
  const uint64_t frame = Encode(MaskedInputChunk{{}, id, 0, {}, {}}).size();
  sent += packed + NumChunks(packed, kMaxChunkBytes) * frame;
  sent += Encode(ConsistencySignature{{}, id, {}, {}}).size();
  const std::vector<UnmaskShare> opened(nodes, UnmaskShare{id, ShareKind::kSelfMask, {}});
  sent += Encode(UnmaskShares{{}, id, opened, {}}).size();
  return 100 * static_cast<double>(sent - packed) / static_cast<double>(packed);
}

}  // namespace choir::bench
