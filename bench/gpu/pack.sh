#!/usr/bin/env bash
# Makes one archive that verifies and times Heddle on a GPU host which has neither Java nor Maven nor a network; README.md.
# Usage: pack.sh [--no-build] OUT.tar.xz
#   --no-build   takes the classes and jars that lie under target/ as they are
set -euo pipefail
build=yes
if [ "${1:-}" = --no-build ]; then build=no; shift; fi
[ $# = 1 ] || { sed -n '3,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$(dirname "$1")"
archive=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
largest=$((60 * 1000 * 1000))

jdk=
for home in "${JAVA25_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/*; do
  if [ -n "$home" ] && [ -x "$home/bin/jlink" ] && grep -qs '^JAVA_VERSION="25[".]' "$home/release"; then jdk=$home; break; fi
done
[ -n "$jdk" ] || { echo "pack.sh: no JDK 25 found; set JAVA25_HOME" >&2; exit 1; }

cd "$root"
[ $build = no ] || mvn -q -B -DskipTests package
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/heddle-gpu
mkdir -p "$top/lib" "$top/tests"

# java.desktop: the plots of `heddle train`. zip-0: the outer xz compresses better.
"$jdk/bin/jlink" --add-modules java.base,java.compiler,java.desktop,java.logging,java.management,java.net.http,java.xml,jdk.incubator.vector,jdk.management,jdk.unsupported,jdk.zipfs \
  --strip-debug --no-header-files --no-man-pages --compress zip-0 --output "$top/jre"

# Our jars, and the libraries of the command line: not oneDNN, for plain Java serves where a test compares with the CPU, nor what
# only makes PDFs or only serves pretrained models, which are not in the archive either.
for module in engine engine/testing kernels layers training samples bench; do cp "$module"/target/heddle-*-SNAPSHOT.jar "$top/lib"; done
tr ':' '\n' < samples/target/classpath.txt | grep -vE '/(dnnl|javacpp|pdfbox|pdfbox-io|fontbox|graphics2d|commons-logging|jcu[^/]*natives|tokenizers|api-|jna-|gson-|error_prone|protobuf-java)[^/]*\.jar$' |
  while read -r jar; do cp "$jar" "$top/lib"; done
junit=$(sed -n 's|.*<junit.version>5\.\(.*\)</junit.version>.*|1.\1|p' pom.xml)
mvn -q -B -N dependency:copy -Dartifact=org.junit.platform:junit-platform-console-standalone:"$junit" -DoutputDirectory="$top/lib"

cp -r engine/conformance/target/test-classes "$top/tests/engine"
if [ -d kernels/target/test-classes ]; then cp -r kernels/target/test-classes "$top/tests/kernels"; fi
mnist=${XDG_CACHE_HOME:-$HOME/.cache}/heddle/mnist
if [ -f "$mnist/train-images-idx3-ubyte" ]; then
  cp -r "$mnist" "$top/mnist"
else
  echo "pack.sh: no MNIST in $mnist (heddle train mnist fetches it): the archive is made without it" >&2
fi
cp -r "$here/run.sh" "$here/stages.sh" "$here/peers" "$here/README.md" "$top"
rm -rf "$top/peers/__pycache__"
{
  echo "commit $(git describe --always --dirty --abbrev=12 2> /dev/null || echo unknown)"
  echo "packed $(date -u +%Y-%m-%dT%H:%MZ)"
  sed -n 's/^IMPLEMENTOR_VERSION="\(.*\)"/\1/p' "$jdk/release"
} > "$top/build"

chmod -R u+rwX,go+rX "$top"
tar -C "$work" --sort=name --owner=0 --group=0 -cf - heddle-gpu | xz -9 -T2 > "$work/archive"
size=$(stat -c %s "$work/archive")
[ "$size" -le $largest ] || { echo "pack.sh: $size bytes, more than the $largest that a host may be willing to take" >&2; exit 1; }
mv "$work/archive" "$archive"
echo "$archive: $size bytes"
