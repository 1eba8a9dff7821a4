#!/usr/bin/env bash
# Installs what Choir needs to build, test and run on Debian 12 (bookworm), from Debian's packages alone.
# usage: deploy/install-deps.sh [--build-only]     (--build-only: without the test and review tools)
set -euo pipefail

build=(
  cmake ninja-build g++ ccache mold pkg-config git ca-certificates
  libgrpc++-dev libgrpc-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libabsl-dev
  libvulkan-dev glslc mesa-vulkan-drivers
  libssl-dev libsodium-dev libspdlog-dev libfmt-dev libsqlite3-dev libqrencode-dev nlohmann-json3-dev libcli11-dev
  libtomlplusplus-dev libdnnl-dev libhwy-dev libpcre2-dev libeigen3-dev libgtest-dev libgmock-dev libbenchmark-dev
)
review=(clang clang-format clang-tidy libclang-rt-14-dev vulkan-validationlayers python3 python3-numpy openssl)

packages=("${build[@]}")
if [[ "${1:-}" != "--build-only" ]]; then packages+=("${review[@]}"); fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install-deps: all ${#packages[@]} packages are here"
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "install-deps: this script knows Debian only; please install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "install-deps: run as root, or install sudo; missing: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "install-deps: installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "install-deps: done"
