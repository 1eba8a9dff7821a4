#!/usr/bin/env bash
# From a fresh Debian 12 to a federated round: installs the packages, builds Choir, and runs `choir demo`
# (a coordinator and four nodes on this machine, mTLS and secure aggregation, a real model, real rounds).
# usage: deploy/quickstart.sh [arguments of `choir demo`]     e.g. --rounds 5, --model M.gguf --data FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "1/3 Packages"
bash deploy/install-deps.sh --build-only

step "2/3 Build (release, into build/release; some minutes the first time)"
cmake --preset release >/dev/null
cmake --build --preset release --target choir choird choir-coordinator

step "3/3 Demo"
exec build/release/bin/choir demo "$@"
