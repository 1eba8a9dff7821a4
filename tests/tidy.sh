#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy) over our sources: every finding is an error.
# usage: tests/tidy.sh [FOLDER|FILE...]      default: everything
# Configures the clang preset for its compile commands.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset clang >/dev/null
# Sources include the generated messages.
cmake --build --preset clang --target choir_services choir_round_proto
if [[ $# == 0 ]]; then set -- base engine secure-agg proto coordinator node cli; fi
for path in "$@"; do
  if [[ ! -e "$path" ]]; then
    echo "tidy: $path is not there" >&2
    exit 2
  fi
done
echo "tidy: $(find "$@" -name '*.cc' | wc -l) files"
find "$@" -name '*.cc' -print0 | xargs -0 -r -n 1 -P "$(nproc)" clang-tidy -p build/clang --quiet
echo "tidy: nothing found, $SECONDS s"
