#!/usr/bin/env bash
# From a fresh Debian 12 to federated rounds, in three steps: installs the packages that Choir needs
# (deploy/install-deps.sh; with sudo, if you are not root), builds it into build/release, and runs
# `choir demo`: a coordinator and four nodes on this machine, mTLS and secure aggregation, a real
# model and real rounds. Nothing outside the packages and build/release is changed, and running it
# again does only what is missing.
# usage: deploy/quickstart.sh [arguments of `choir demo`]     e.g. --rounds 8, --model M.gguf --data FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "${1:-}" == "--help" || "${1:-}" == "-h" ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' deploy/quickstart.sh
  exit 0
fi

name="Start"
step() { name="$*"; printf '\n== %s  [%s s]\n' "$name" "$SECONDS"; }
trap 'printf "\nquickstart: \"%s\" failed; what is above says why. Running this again goes on from there.\n" "$name" >&2' ERR

step "1/3 Packages (Debian's own)"
bash deploy/install-deps.sh --build-only

step "2/3 Build (into build/release; some minutes the first time, seconds after that)"
cmake --preset release >/dev/null
cmake --build --preset release --target choir choird choir-coordinator

step "3/3 Demo: choir demo $*"
exec build/release/bin/choir demo "$@"
