#!/usr/bin/env bash
# LoRA training by `choir bench` on this machine's GPU beside PyTorch with PEFT in bf16 on the same GPU in the same
# session: tokens/s, share of the GPU's peak (products measured by PyTorch in the same session), GPU memory, ratios,
# and Choir's profile, as Markdown for docs/performance.md and as JSON. Goes round the programs three times, so that
# heat and clocks are the same for all. A step that fails is named and left out; the others go on.
#
# usage: bench/gpu_compare.sh [--without-torch] [--any-device] [--device N] CHOIR [SHAPE [CTX [OUT]]]
#   e.g. bench/gpu_compare.sh build/release/bin/choir qwen3-0.6b 512 results
# OUT, a new or empty folder, keeps table.md, results.json, and JSON and messages (.log) of each run; room for the
# model is needed there (default: a folder under /tmp). Nothing needs the network. Before: a Vulkan driver of a
# hardware GPU, nothing else on that GPU, and (with the network) `pip install torch transformers peft`, transformers
# 4.51 or later for qwen3.
#   --without-torch   Choir alone
#   --any-device      also a software device: to try the script
#   --device N        the GPU by its number in `choir devices`; PyTorch's is CUDA_VISIBLE_DEVICES
# Exits 1 if a step failed, 2 for wrong usage, 4 without such a GPU or without PyTorch.
set -euo pipefail
usage() { sed -n '7,17s/^# \?//p' "$0" >&2; exit 2; }
fail() { echo "gpu_compare: $2" >&2; exit "$1"; }
torch=1
any_device=0
device=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --without-torch) torch=0 ;;
    --any-device) any_device=1 ;;
    --device) [[ ${2-} =~ ^[0-9]+$ ]] || usage; device=(--device "$2"); shift ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 1 && $# -le 4 ]] || usage
choir=$1
shape=${2:-qwen3-0.6b}
ctx=${3:-512}
[[ $ctx =~ ^[1-9][0-9]*$ ]] || usage
here=$(cd "$(dirname "$0")" && pwd)
command -v python3 > /dev/null || fail 4 "python3 is not installed"
command -v "$choir" > /dev/null || fail 2 "$choir is no program; build it: cmake --preset release && cmake --build --preset release --target choir"
out=${4:-$(mktemp -d -t gpu_compare.XXXXXX)}
mkdir -p "$out"
[[ -z $(ls -A "$out") ]] || fail 2 "$out has files already: results of two sessions do not compare; name another folder"
# Random weights from configurations that are written here: there is nothing to fetch.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

# Of the best device that `choir` would take: a software one only if there is no other.
"$choir" devices --json > "$out/devices.json" || fail 4 "\`$choir devices\` failed"
python3 "$here/gpu_table.py" --has-gpu "$any_device" "${device[1]:--1}" "$out/devices.json" >&2 || exit 4
if ((torch)) && ! python3 "$here/torch_train.py" --shape "$shape" --check; then
  fail 4 "install what is missing, or see Choir alone with --without-torch"
fi

failed=()
# step NAME COMMAND...: stdout to NAME.json, stderr to NAME.log; JSON of a step that failed is not kept.
step() {
  local name=$1 code=0
  shift
  echo "gpu_compare: $name" >&2
  "$@" > "$out/$name.json" 2> "$out/$name.log" || code=$?
  ((code)) || return 0
  failed+=("$name")
  rm -f "$out/$name.json"
  echo "gpu_compare: $name failed with exit code $code; the end of $out/$name.log:" >&2
  tail -n 8 "$out/$name.log" | sed 's/^/    /' >&2
}

if ((torch)); then step peak python3 "$here/torch_train.py" --shape "$shape" --peak; fi
size=(--shape "$shape")
[[ $shape == quick ]] && size=(--quick)
for run in 1 2 3; do
  if ((torch)); then
    step "torch.$run" python3 "$here/gpu_memory.py" "$out/torch.$run.memory" \
      python3 "$here/torch_train.py" --shape "$shape" --ctx "$ctx"
  fi
  for format in F16 Q8_0; do
    step "$format.$run" python3 "$here/gpu_memory.py" "$out/$format.$run.memory" \
      "$choir" bench train --backend vulkan "${device[@]}" "${size[@]}" --folder "$out" --ctx "$ctx" --dtype "$format" \
      --steps 10 --profile --json
  done
done
python3 "$here/gpu_table.py" "$out" "${failed[@]}" > "$out/table.md" || fail 1 "there is nothing to make a table of: see $out/*.log"
cat "$out/table.md"
echo "gpu_compare: table.md, results.json and the runs are in $out" >&2
if ((${#failed[@]})); then fail 1 "failed: ${failed[*]}"; fi
