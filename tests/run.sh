#!/usr/bin/env bash
# Installs what the tests need, builds Choir, and runs every test; ends with a line that counts them.
# usage: tests/run.sh
#   CHOIR_TEST_DATA=FOLDER          reference models and vectors (default ../shared/data)
#   CHOIR_REQUIRE_TEST_DATA=1       fail, instead of skipping, where that folder is missing
#   CHOIR_FUZZ_SECONDS=N            seconds for each fuzz target (default 5; 0: the seeds alone)
#   CHOIR_SANITIZED=0               leave out the fuzz targets (clang, ASan + UBSan)
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s  [%s s]\n' "$*" "$SECONDS"; }

step "Packages"
bash deploy/install-deps.sh

step "Build (dev: warnings are errors)"
cmake --preset dev >/dev/null
cmake --build --preset dev

step "Tests"
ctest --preset dev --output-junit "$PWD/build/dev/tests.xml" --parallel 2

if [[ "${CHOIR_SANITIZED:-1}" != 0 ]]; then
  step "Fuzz targets under ASan + UBSan (clang, ${CHOIR_FUZZ_SECONDS:-5} s each)"
  bash tests/fuzz/run.sh "${CHOIR_FUZZ_SECONDS:-5}"
fi

step "Done"
python3 tests/tools/count_tests.py build/dev/tests.xml
