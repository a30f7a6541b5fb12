#!/usr/bin/env bash
# Verifies and times Heddle on this machine's GPU; README.md says what the stages are.
# Usage: run.sh [--quick] [--stages NAME,NAME...] [--budget SECONDS] [OUT_FOLDER]
#   --quick    small sizes, to see that everything runs
#   --stages   only these, in this order
#   --budget   seconds for everything (540): a stage is given what is left, and none is started with less than 10
# OUT_FOLDER (heddle-gpu-report) gets report.json, summary.md and logs.tar.gz. Exit status 1 if a stage failed.
set -uo pipefail
all=(device op_table random_graphs kernels determinism host bench bench_torch training training_torch mnist soak memcheck racecheck models models_torch)
declare -A limits=([device]=60 [op_table]=180 [random_graphs]=90 [kernels]=90 [determinism]=60 [host]=40 [bench]=160 [bench_torch]=120
  [training]=75 [training_torch]=150 [mnist]=90 [soak]=60 [memcheck]=90 [racecheck]=90 [models]=200 [models_torch]=380)

usage() { sed -n '3,7s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
stages=() budget=540 out=heddle-gpu-report
export QUICK=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) QUICK=quick ;;
    --stages) [ $# -gt 1 ] || usage; IFS=, read -ra stages <<< "$2"; shift ;;
    --budget) [ $# -gt 1 ] || usage; budget=$2; shift ;;
    -*) usage ;;
    *) out=$1 ;;
  esac
  shift
done
[ ${#stages[@]} -gt 0 ] || stages=("${all[@]}")
for stage in "${stages[@]}"; do
  [ -n "${limits[$stage]:-}" ] || { echo "run.sh: no stage $stage; there are: ${all[*]}" >&2; exit 2; }
done
[ "${stages[0]}" = device ] || stages=(device "${stages[@]}") # the others need to know what this is

GPU_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -x "$GPU_HOME/jre/bin/java" ] || { echo "run.sh: runs from an unpacked archive, see pack.sh" >&2; exit 2; }
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
WORK=$(mktemp -d "$GPU_HOME/work.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export GPU_HOME WORK XDG_CACHE_HOME=$GPU_HOME/cache # compiled kernels, and nothing outside this folder
cp "$GPU_HOME/build" "$WORK/build"
[ -z "$QUICK" ] || echo "--quick" > "$WORK/options"
{ uname -srm; echo "$(nproc) processors, $(grep -m 1 'model name' /proc/cpuinfo | sed 's/.*: //')"; } > "$WORK/host"
: > "$WORK/stages.tsv"

now() { date +%s.%N; }
begin=$(now)
left() { echo "$budget $begin $(now)" | awk '{printf "%d", $1 - ($3 - $2)}'; }
note() { printf '%s\t%s\t%s\t%s\n' "$@" >> "$WORK/stages.tsv"; printf '%-16s %-8s %6ss  %s\n' "$@"; }

gpu=yes
for stage in "${stages[@]}"; do
  limit=$(left)
  if [ -z "$gpu" ]; then note "$stage" skipped 0 "no GPU can be used, see the stage device"; continue; fi
  if [ "$limit" -lt 10 ]; then note "$stage" skipped 0 "no time was left; run it by itself with --stages $stage"; continue; fi
  limit=$((limit < limits[$stage] ? limit : limits[$stage]))
  start=$(now)
  timeout -k 5 "$limit" bash -c '. "$1"; "$2"' stage "$GPU_HOME/stages.sh" "$stage" > "$WORK/$stage.log" 2>&1 < /dev/null
  status=$?
  seconds=$(echo "$start $(now)" | awk '{printf "%.1f", $2 - $1}')
  case $status in
    0) note "$stage" passed "$seconds" "" ;;
    77) note "$stage" skipped "$seconds" "$(tail -n 1 "$WORK/$stage.log" | sed 's/^skipped: //' | tr '\t' ' ')" ;;
    124 | 137) note "$stage" timeout "$seconds" "stopped after $limit s" ;;
    *) note "$stage" failed "$seconds" "exit status $status" ;;
  esac
  if [ "$stage" = device ] && [ $status != 0 ]; then gpu=; fi
done

"$GPU_HOME/jre/bin/java" -cp "$GPU_HOME/lib/*" dev.heddle.bench.GpuReport "$WORK" "$out"
status=$?
tar -czf "$out/logs.tar.gz" -C "$WORK" --exclude '*.f32' --exclude '*.safetensors' --exclude 'mnist-small' --exclude 'mnist-model' .
echo "in $out: report.json, summary.md, logs.tar.gz"
exit $status
