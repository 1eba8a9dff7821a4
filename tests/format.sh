#!/usr/bin/env bash
# Fails when a C++ file is not formatted. usage: tests/format.sh ROOT
set -euo pipefail
cd "$1"
find base engine secure-agg proto coordinator node cli tests bench \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 -r clang-format --dry-run -Werror
