#!/usr/bin/env bash
# Builds every fuzz target (clang, ASan + UBSan) and runs each for a short while over its seed corpus.
# usage: tests/fuzz/run.sh [seconds]      default 5; longer finds more: tests/fuzz/run.sh 600
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds="${1:-5}"

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzzers
found=0
for target in build/fuzz/fuzz/*_fuzz; do
  name=$(basename "$target")
  corpus="build/fuzz/corpus/$name"
  mkdir -p "$corpus"
  seeds=()
  if [[ -d "tests/fuzz/corpus/$name" ]]; then seeds=("tests/fuzz/corpus/$name"); fi
  echo "-- $name: $seconds s"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=0 -verbosity=0 \
    -artifact_prefix="build/fuzz/$name-" "$corpus" "${seeds[@]}" 2>"build/fuzz/$name.log" || {
    tail -40 "build/fuzz/$name.log"
    echo "fuzz: $name found a failure; its input is build/fuzz/$name-*" >&2
    exit 1
  }
  found=$((found + 1))
done
echo "fuzz: $found targets, nothing found"
