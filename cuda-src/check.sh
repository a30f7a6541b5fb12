#!/usr/bin/env bash
# Compiles every kernel file for the architectures we support. Fails on a warning, and where attention kernels spill registers.
# Usage: check.sh [file.cu ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
[ $# -gt 0 ] || set -- *.cu
for file in "$@"; do
  for arch in 80 90a; do
    nvcc -std=c++17 -gencode "arch=compute_$arch,code=sm_$arch" --Werror all-warnings -Xptxas -v -cubin -o "$output/cubin" "$file" \
      >"$output/log" 2>&1 || { cat "$output/log"; exit 1; }
    spills=$(grep -c '[1-9][0-9]* bytes spill' "$output/log" || true)
    echo "$file sm_$arch: $(grep -c 'Compiling entry function' "$output/log") kernels, $spills spill"
    case $file in
      attention*) [ "$spills" = 0 ] || { grep -B1 '[1-9][0-9]* bytes spill' "$output/log"; exit 1; } ;;
    esac
  done
done
