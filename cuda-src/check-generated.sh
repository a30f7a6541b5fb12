#!/usr/bin/env bash
# Compiles kernels that the engine generated, with nvcc for sm_90a, many to a file. Fails on an error.
# Usage: check-generated.sh FOLDER, a kernel cache made under -Dheddle.cuda.sources=true; the tests leave one in
# engine/testing/target/stand-in/cache.
set -euo pipefail
[ $# = 1 ] || { echo "usage: check-generated.sh FOLDER" >&2; exit 2; }
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT

# Only what was generated: elementwise kernels, reductions and updates of many tensors. Each source begins with the shared headers,
# up to the line that says the type of offsets; they go in front once, and every kernel into a namespace of its own.
python3 - "$1" "$output" <<'PYTHON'
import pathlib, re, sys
folder, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
marker = re.compile(r"^typedef int(32|64)_t index_t;$", re.M)
kernels, header = [], None
for file in sorted(folder.glob("*.cu")):
    text = file.read_text()
    found = list(marker.finditer(text))
    if found:
        header = header or text[:found[-1].start()]
        kernels.append((file.name, text[found[-1].start():]))
if not kernels:
    sys.exit(f"no generated kernels in {folder}")
SIZE = 100
for first in range(0, len(kernels), SIZE):
    parts = [header]
    for i, (name, body) in enumerate(kernels[first:first + SIZE]):
        body = re.sub(r"(extern \"C\" __global__ void __launch_bounds__\(\d+\) \w+)\(", rf"\1_{i}(", body)
        parts.append(f"// {name}\nnamespace kernel_{i} {{\n{body}}}\n")
    (output / f"part{first // SIZE}.cu").write_text("\n".join(parts))
print(f"{len(kernels)} generated kernels")
PYTHON

compile() {
  nvcc -std=c++17 -gencode arch=compute_90a,code=sm_90a -diag-suppress 177 -cubin -o "$1.cubin" "$1" || exit 255
}
export -f compile
printf '%s\n' "$output"/*.cu | xargs -P "$(nproc)" -I{} bash -c 'compile {}'
echo "all compile"
