#!/usr/bin/env bash
# One table: LoRA training by `choir bench` on this machine's GPU, and by PyTorch with PEFT in bf16 on the
# same GPU in the same session. Alternates between the two, so that heat and clocks are the same for both.
#
# usage: bench/gpu_compare.sh CHOIR [SHAPE [CTX]]      e.g. bench/gpu_compare.sh build/release/bin/choir qwen3-0.6b 512
# Needs python3 with torch, transformers and peft, and a Vulkan driver of a hardware GPU.
set -euo pipefail
choir=${1:?usage: bench/gpu_compare.sh CHOIR [SHAPE [CTX]]}
shape=${2:-qwen3-0.6b}
ctx=${3:-512}
here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

if ! "$choir" devices --json | python3 -c '
import json, sys
sys.exit(not any(d["backend"] == "vulkan" and not d["is_software"] for d in json.load(sys.stdin)["devices"]))'; then
  echo "gpu_compare: no hardware GPU with a Vulkan driver here (choir devices)" >&2
  exit 4
fi
for run in 1 2 3; do
  python3 "$here/torch_train.py" --shape "$shape" --ctx "$ctx" > "$out/torch.$run.json"
  for format in F16 Q8_0; do
    "$choir" bench train --backend vulkan --shape "$shape" --ctx "$ctx" --dtype "$format" --profile --json \
      > "$out/$format.$run.json"
  done
done
python3 - "$out" "$shape" "$ctx" << 'PYTHON'
import json
import sys

folder, shape, ctx = sys.argv[1:]


def runs(name):
    return [json.load(open(f"{folder}/{name}.{run}.json")) for run in (1, 2, 3)]


torch = max(runs("torch"), key=lambda r: r["tokens_per_second"])
print(f"{shape}, ctx {ctx}, LoRA r = 8 on all seven projections; best of three, alternating")
print(f"PyTorch {torch['torch']}, bf16, {torch['device']}")
print("| program, weights | tokens/s | to PyTorch | GPU memory, MiB | GFLOP/s |")
print("| --- | --- | --- | --- | --- |")
print(f"| PyTorch + PEFT, bf16 | {torch['tokens_per_second']:.0f} | 1 | {torch['peak_bytes'] / 2**20:.0f} | |")
for name in ("F16", "Q8_0"):
    best = max(runs(name), key=lambda r: r["train"]["tokens_per_second"])
    train = best["train"]
    ratio = train["tokens_per_second"] / torch["tokens_per_second"]
    memory = train["predicted_bytes"] / 2**20  # what the program allocates on the device
    print(f"| choir, {name} | {train['tokens_per_second']:.0f} | {ratio:.2f} | {memory:.0f} | {train['gflops']:.0f} |")
    for op in train["ops"][:5]:
        print(f"  {op['op']}: {op['seconds'] * 1e3:.2f} ms, {op['flops'] / max(op['seconds'], 1e-12) * 1e-9:.0f} GFLOP/s")
PYTHON
