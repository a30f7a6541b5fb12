#!/usr/bin/env bash
# Builds the stand-in of CUDA over host memory into a folder: build.sh [--check] FOLDER
# The folder then serves as -Dheddle.cuda.home; FOLDER/cache is the place for -Dheddle.cuda.cache, emptied when anything
# here has changed. Does nothing where all is up to date. Exits 3 where g++ is missing. --check also runs the smoke test.
set -euo pipefail
check=
if [ "${1:-}" = --check ]; then check=1; shift; fi
[ $# = 1 ] || { echo "usage: build.sh [--check] FOLDER" >&2; exit 2; }
command -v g++ > /dev/null || { echo "stand-in: g++ is not installed, so CUDA's stand-in cannot be built" >&2; exit 3; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
flags="-std=c++17 -O1 -fPIC -fvisibility=hidden -Wall -Wextra -Wno-psabi"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() {
  # How kernels are compiled; the precompiled header serves only under exactly these.
  local kernel=(-O1 -fPIC -fvisibility=hidden -fno-gnu-unique -fno-exceptions -fno-rtti -fno-asynchronous-unwind-tables
    -fno-stack-protector -fno-math-errno -fno-strict-aliasing -fwrapv -ffp-contract=off
    -fsanitize=alignment,bounds-strict -fsanitize-undefined-trap-on-error  # a misaligned access is an error on a GPU
    -fsanitize=kernel-address -fno-sanitize-recover=kernel-address         # calls of ours before each access
    --param asan-instrumentation-with-call-threshold=0 --param asan-globals=1 --param asan-stack=0)
  if grep -q ' avx2 ' /proc/cpuinfo && grep -q ' fma ' /proc/cpuinfo; then kernel+=(-mavx2 -mfma); fi
  local list objects=() f
  list=$(printf '"%s",' "${kernel[@]}")

  rm -rf "$out"/stamp "$out"/cache "$out"/cuda_host.h.gch
  cp "$here"/module_abi.h "$here"/cuda_host.h "$here"/cuda_host_ptx.h "$out"
  g++ -x c++-header -std=c++17 -w -DHEDDLE_STAND_IN "${kernel[@]}" "$out"/cuda_host.h -o "$out"/cuda_host.h.gch
  (for f in "$here"/cudnn*.cpp; do g++ $flags -O2 -ftree-vectorize -c "$f" -o "$work/$(basename "$f" .cpp).o"; done) &
  local cudnn=$!
  for f in device memory stream graph module; do
    g++ $flags -c "$here"/driver_$f.cpp -o "$work"/$f.o
    objects+=("$work"/$f.o)
  done
  g++ $flags -O2 -U_FORTIFY_SOURCE -c "$here"/execution.cpp -o "$work"/execution.o
  # Under temporary names first: a running test may have the old libraries open.
  g++ -shared -Wl,-soname,libcuda.so.1 -o "$work"/libcuda.so.1 "${objects[@]}" "$work"/execution.o -ldl -lpthread
  g++ $flags "-DHEDDLE_FLAGS=${list%,}" -c "$here"/nvrtc.cpp -o "$work"/nvrtc.o
  g++ -shared -Wl,-soname,libnvrtc.so.13 -o "$work"/libnvrtc.so.13 "$work"/nvrtc.o -ldl
  g++ $flags -O3 -shared -Wl,-soname,libcublasLt.so.13 -Wl,-rpath,'$ORIGIN' -o "$work"/libcublasLt.so.13 \
    "$here"/cublaslt.cpp "$work"/libcuda.so.1
  wait $cudnn
  g++ -shared -Wl,-soname,libcudnn.so.9 -Wl,-rpath,'$ORIGIN' -o "$work"/libcudnn.so.9 "$work"/cudnn*.o "$work"/libcuda.so.1
  # JCuda wants CUDA 12, and symbols with the library's name as their version.
  g++ -shared -Wl,--default-symver,-soname,libnvrtc.so.12 -o "$work"/libnvrtc.so.12 "$work"/nvrtc.o -ldl
  ln -s libcublasLt.so.13 "$work"/libcublasLt.so.12
  g++ $flags -shared -Wl,--default-symver,-soname,libcublas.so.12 -Wl,-rpath,'$ORIGIN' -o "$work"/libcublas.so.12 \
    "$here"/cublas.cpp "$work"/libcublasLt.so.13 "$work"/libcuda.so.1
  rm -f "$out"/lib*.so.*
  cp "$work"/lib*.so.* "$out"
  echo "$stamp" > "$out"/stamp
}

stamp=$({ g++ --version; cat "$here"/*.cpp "$here"/*.h "$here"/build.sh; } | cksum)
if [ "$(cat "$out"/stamp 2> /dev/null)" != "$stamp" ]; then build; fi
if [ -n "$check" ]; then
  g++ $flags -o "$work"/smoke "$here"/check/*.cpp -ldl
  "$work"/smoke "$out" "$here"/check
fi
