#!/usr/bin/env bash
# LoRA training by `choir bench` on this machine's GPU beside PyTorch with PEFT in bf16 on the same GPU in the same
# session: tokens/s, share of the GPU's peak (products measured by PyTorch in the same session), GPU memory, ratios,
# and Choir's profile, as Markdown for docs/performance.md. Goes round the programs three times, so that heat and
# clocks are the same for all.
#
# usage: bench/gpu_compare.sh [--without-torch] [--any-device] CHOIR [SHAPE [CTX [OUT]]]
#   e.g. bench/gpu_compare.sh build/release/bin/choir qwen3-0.6b 512 results
# OUT keeps the runs' JSON and table.md (default: a folder under /tmp). Needs python3 with torch, transformers
# (4.51 or later for qwen3) and peft, a Vulkan driver of a hardware GPU, and nothing else on that GPU.
#   --without-torch   Choir alone   --any-device   also a software device: to try the script
# Exits 2 for wrong usage, 4 without such a GPU or without PyTorch.
set -euo pipefail
usage() { sed -n '7,12s/^# \?//p' "$0" >&2; exit 2; }
torch=1
any_device=0
while [[ ${1-} == --* ]]; do
  case $1 in
    --without-torch) torch=0 ;;
    --any-device) any_device=1 ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 1 && $# -le 4 ]] || usage
choir=$1
shape=${2:-qwen3-0.6b}
ctx=${3:-512}
out=${4:-$(mktemp -d -t gpu_compare.XXXXXX)}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

# Of the best device that `choir` would take: a software one only if there is no other.
if ! "$choir" devices --json | python3 -c '
import json, sys
gpus = [d for d in json.load(sys.stdin)["devices"] if d["backend"] == "vulkan"]
sys.exit(not any(sys.argv[1] == "1" or not d["is_software"] for d in gpus))' "$any_device"; then
  echo "gpu_compare: no hardware GPU with a Vulkan driver here (choir devices)" >&2
  exit 4
fi
if ((torch)) && ! python3 "$here/torch_train.py" --shape "$shape" --check; then
  echo "gpu_compare: install what is missing, or see Choir alone with --without-torch" >&2
  exit 4
fi

if ((torch)); then python3 "$here/torch_train.py" --shape "$shape" --peak > "$out/peak.json"; fi
size=(--shape "$shape")
[[ $shape == quick ]] && size=(--quick)
for run in 1 2 3; do
  if ((torch)); then
    python3 "$here/gpu_memory.py" "$out/torch.$run.memory.json" \
      python3 "$here/torch_train.py" --shape "$shape" --ctx "$ctx" > "$out/torch.$run.json"
  fi
  for format in F16 Q8_0; do
    python3 "$here/gpu_memory.py" "$out/$format.$run.memory.json" \
      "$choir" bench train --backend vulkan "${size[@]}" --ctx "$ctx" --dtype "$format" --steps 10 --profile --json \
      > "$out/$format.$run.json"
  done
done
python3 "$here/gpu_table.py" "$out" | tee "$out/table.md"
echo "gpu_compare: runs and table in $out" >&2
