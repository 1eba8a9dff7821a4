#!/usr/bin/env bash
# Builds every fuzz target (clang, ASan + UBSan), then runs each over its seeds and from them onwards.
# usage: tests/fuzz/run.sh [SECONDS [TARGET...]]
#   SECONDS  for each target; default 5; 0: the seeds only; longer finds more: tests/fuzz/run.sh 600
#   TARGET   such as gguf_fuzz; default: all
#   CHOIR_FUZZ_SEED=N   default 1: two runs of one build try the same inputs; another number tries others
# What a run finds new stays in build/fuzz/corpus/, so that the next one starts there.
set -euo pipefail
cd "$(dirname "$0")/../.."
budget="${1:-5}"
if [[ ! "$budget" =~ ^[0-9]+$ ]]; then
  echo "fuzz: '$budget' is no number of seconds; usage: tests/fuzz/run.sh [SECONDS [TARGET...]]" >&2
  exit 2
fi
shift || true

export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

echo "fuzz: building (clang, ASan + UBSan) ..."
mkdir -p build
rm -rf build/fuzz/fuzz  # no target of yesterday's sources
cmake --preset fuzz >build/fuzz-configure.log 2>&1 || { cat build/fuzz-configure.log >&2; exit 1; }
cmake --build --preset fuzz --target fuzzers
echo "fuzz: built after $SECONDS s"

targets=("$@")
if [[ ${#targets[@]} == 0 ]]; then
  for path in build/fuzz/fuzz/*_fuzz; do targets+=("$(basename "$path")"); done
fi
if [[ "$budget" == 0 ]]; then limit=-runs=0; else limit="-max_total_time=$budget"; fi

for name in "${targets[@]}"; do
  found="build/fuzz/corpus/$name"
  log="build/fuzz/$name.log"
  mkdir -p "$found"
  folders=("$found")
  if [[ -d "tests/fuzz/corpus/$name" ]]; then folders+=("tests/fuzz/corpus/$name"); fi
  if ! "build/fuzz/fuzz/$name" "$limit" "-seed=${CHOIR_FUZZ_SEED:-1}" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" "${folders[@]}" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    echo "fuzz: $name failed; its input is build/fuzz/$name-*, all of its output $log" >&2
    exit 1
  fi
  printf 'fuzz: %-26s %9s inputs\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
done
echo "fuzz: ${#targets[@]} targets, nothing found, $SECONDS s in all"
