# The stages of run.sh, one function each. A stage passes with status 0; `skip REASON` says that it could not be run here. Each is
# called in a shell of its own with the environment that run.sh exports: GPU_HOME, WORK, QUICK (empty or "quick"), HEDDLE_CUDA_HOME.

set -o pipefail

skip() { echo "skipped: $*"; exit 77; }

heddle_java() {
  local options=(--add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -Dheddle.device=cuda)
  [ -z "${HEDDLE_CUDA_HOME:-}" ] || options+=("-Dheddle.cuda.home=$HEDDLE_CUDA_HOME")
  "${SANITIZER[@]}" "$GPU_HOME/jre/bin/java" "${options[@]}" -cp "$GPU_HOME/lib/*:$GPU_HOME/tests/engine:$GPU_HOME/tests/kernels" "$@"
}
SANITIZER=()

bench_java() { local class=$1; shift; heddle_java "dev.heddle.bench.$class" "$@"; }

stand_in() { grep -qs '"stand_in" : true' "$WORK/device.json"; }

# junit REPORTS [ARGUMENTS OF java] -- ARGUMENTS OF JUnit's launcher
junit() {
  local reports=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  heddle_java "${options[@]}" org.junit.platform.console.ConsoleLauncher execute --disable-banner --disable-ansi-colors \
    --details=testfeed --reports-dir "$reports" "$@"
}

# sharded STAGE METHOD...: the invocations of parameterized methods, dealt out to several JVMs, because compiling some thousand
# kernels is most of the work. Quick: one invocation in ten.
sharded() {
  local stage=$1 shards step k status=0 pids=() arguments
  shift
  shards=$(($(nproc) / 2))
  shards=$((shards < 1 ? 1 : shards > 8 ? 8 : shards))
  step=$shards
  if [ -n "$QUICK" ]; then shards=1 step=10; fi
  for ((k = 0; k < shards; k++)); do # JUnit counts invocations from 0, and ignores those behind the last
    arguments=()
    for method in "$@"; do arguments+=(--select-iteration "method:$method[$(seq -s, "$k" "$step" 999)]"); done
    junit "$WORK/$stage-tests$k" -- "${arguments[@]}" > "$WORK/$stage-shard$k.log" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  cat "$WORK/$stage"-shard*.log
  return $status
}

device() {
  nvidia-smi || echo "nvidia-smi did not run"
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit --format=csv > "$WORK/nvidia-smi" 2> /dev/null ||
    rm -f "$WORK/nvidia-smi"
  heddle_java dev.heddle.samples.Heddle devices
  bench_java GpuInfo "$WORK/device.json" $QUICK
}

op_table() {
  local case='(dev.heddle.engine.OpCases$Case)'
  sharded op_table "dev.heddle.engine.OpTableTest#agreesWithTheReference$case" \
    "dev.heddle.engine.OpGradientTest#gradientsAgreeWithFiniteDifferences$case"
}

random_graphs() { sharded random_graphs 'dev.heddle.engine.RandomGraphTest#fusedUnfusedAndReferenceAgree(int)'; }

kernels() {
  [ -d "$GPU_HOME/tests/kernels" ] || skip "the archive holds no tests of the kernels module"
  local some=()
  [ -z "$QUICK" ] || some=(--exclude-methodname '.*#gradients.*')
  junit "$WORK/kernels-tests" -- --scan-class-path "$GPU_HOME/tests/kernels" "${some[@]}"
}

# The same training four times: twice in a process, in two processes whose JITs differ.
determinism() {
  local steps=200
  [ -z "$QUICK" ] || steps=3
  bench_java GpuTraining bits "$WORK/determinism.json" $steps || return 1
  [ -z "$QUICK" ] || return 0
  heddle_java -XX:TieredStopAtLevel=1 dev.heddle.bench.GpuTraining bits "$WORK/determinism-again.json" $steps || return 1
  cmp "$WORK/determinism.json" "$WORK/determinism-again.json"
}

bench() { bench_java Bench kernels --device cuda --json "$WORK/bench.json" ${QUICK:+--quick}; }

training() { bench_java GpuTraining bench "$WORK/training.json" "$WORK" "${QUICK:-full}"; }

has_torch() {
  command -v python3 > /dev/null || skip "no python3"
  python3 -c 'import torch' 2> /dev/null || skip "python3 has no torch"
  python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || skip "python3's torch sees no GPU"
}

bench_torch() {
  has_torch
  [ -s "$WORK/bench.json" ] || skip "the stage bench left nothing to compare with"
  PYTHONUNBUFFERED=1 python3 "$GPU_HOME/peers/kernels.py" "$WORK/bench_torch.json" "$WORK/bench.json" $QUICK
}

training_torch() {
  has_torch
  [ -s "$WORK/training.json" ] || skip "the stage training left nothing to compare with"
  PYTHONUNBUFFERED=1 python3 "$GPU_HOME/peers/training.py" "$WORK/training_torch.json" "$WORK/training.json" "$WORK" $QUICK
}

models() { bench_java GpuModels "$WORK/models.json" "$WORK" "${QUICK:-full}"; }

models_torch() {
  has_torch
  [ -s "$WORK/models.json" ] || skip "the stage models left nothing to compare with"
  PYTHONUNBUFFERED=1 python3 "$GPU_HOME/peers/models.py" "$WORK/models_torch.json" "$WORK/models.json" "$WORK" $QUICK
}

host() {
  heddle_java -Dheddle.cuda.graphs=false dev.heddle.bench.GpuHost launch "$WORK/launch.json" $QUICK &&
    bench_java GpuHost replay "$WORK/replay.json" $QUICK &&
    printf '{"launch": %s, "replay": %s}\n' "$(cat "$WORK/launch.json")" "$(cat "$WORK/replay.json")" > "$WORK/host.json"
}

# first COUNT BYTES_EACH HEADER_BYTES FILE: an IDX file with the first COUNT items of another.
first() {
  head -c 4 "$4"
  printf "\\x00\\x00\\x00\\x$(printf %02x "$1")"
  head -c "$3" "$4" | tail -c +9
  tail -c +$(($3 + 1)) "$4" | head -c $(($1 * $2))
}

mnist() {
  local data=$GPU_HOME/mnist task=mnist epochs=12 small
  [ -d "$data" ] || skip "the archive holds no MNIST files"
  if [ -n "$QUICK" ]; then # a perceptron on a few images
    small=$WORK/mnist-small task=digits-mlp epochs=1
    mkdir -p "$small"
    for set in train t10k; do
      first 64 784 16 "$data/$set-images-idx3-ubyte" > "$small/$set-images-idx3-ubyte"
      first 64 1 8 "$data/$set-labels-idx1-ubyte" > "$small/$set-labels-idx1-ubyte"
    done
    data=$small
  fi
  local status=0
  heddle_java dev.heddle.samples.Heddle train $task --device cuda --epochs $epochs --data "$data" --out "$WORK/mnist-model" --json 2>&1 |
    tee "$WORK/mnist.out" || status=$?
  # Without fonts on the host, drawing the plots fails after the training; the progress shows how well that went.
  grep '^{' "$WORK/mnist.out" | tail -n 1 > "$WORK/mnist.json" ||
    sed -n 's|^epoch \([0-9]*\)/.* accuracy \([0-9.]*\).*|{"epochs": \1, "test_accuracy": \2}|p' "$WORK/mnist.out" | tail -n 1 > "$WORK/mnist.json"
  return $status
}

soak() { if [ -n "$QUICK" ]; then bench_java Soak 20; else bench_java Soak 10000; fi; }

# sanitize TOOL [OPTIONS OF java]: every thirtieth row of the op table, then the tests of the kernels module, without graphs, so that a
# finding names its kernel.
sanitize() {
  local name=$1 tool status=0
  shift
  stand_in && skip "compute-sanitizer needs a GPU, and this is the stand-in, which looks for bad accesses and races of its own"
  tool=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2> /dev/null | head -n 1)
  [ -n "$tool" ] || skip "there is no compute-sanitizer"
  SANITIZER=("$tool" --tool "$name" --error-exitcode 86 --target-processes application-only --report-api-errors no --print-limit 20)
  if ! bench_java GpuInfo "$WORK/$name-probe.json" quick > "$WORK/$name-probe.log" 2>&1; then
    cat "$WORK/$name-probe.log"
    skip "compute-sanitizer does not work here: $(grep -m 1 -E '=====|error|Error' "$WORK/$name-probe.log" || tail -n 1 "$WORK/$name-probe.log")"
  fi
  junit "$WORK/$name-tests1" -Dheddle.cuda.graphs=false "$@" -- --select-iteration \
    "method:dev.heddle.engine.OpTableTest#agreesWithTheReference(dev.heddle.engine.OpCases\$Case)[$(seq -s, 0 30 999)]" || status=1
  if [ -d "$GPU_HOME/tests/kernels" ]; then
    junit "$WORK/$name-tests2" -Dheddle.cuda.graphs=false "$@" -- --scan-class-path "$GPU_HOME/tests/kernels" || status=1
  fi
  return $status
}

memcheck() { sanitize memcheck -Dheddle.cuda.guard=true; }
racecheck() { sanitize racecheck; }
