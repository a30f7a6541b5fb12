"""What the scripts share: how a time is taken, what a training step is tried as, and how results are kept."""
import json
import time

import torch


def device():
    """The GPU; the CPU where there is none, which only shows that the scripts work."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def same_precision():
    """Heddle's f32 is f32: no TF32 on either side."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def median(values):
    values = sorted(values)
    return {"median": values[len(values) // 2], "min": values[0], "max": values[-1]}


def microseconds(run, quick):
    """Microseconds a run: nine batches of about 50 ms, the clock read behind a synchronisation; `heddle bench kernels` takes events."""
    warm = time.perf_counter() + (0 if quick else 0.3)
    while True:
        for _ in range(4):
            run()
        synchronize()
        if time.perf_counter() > warm:
            break
    start = time.perf_counter()
    run()
    synchronize()
    runs = int(min(max((0.001 if quick else 0.05) / (time.perf_counter() - start), 1), 2000))
    times = []
    for _ in range(3 if quick else 9):
        start = time.perf_counter()
        for _ in range(runs):
            run()
        synchronize()
        times.append((time.perf_counter() - start) * 1e6 / runs)
    return median(times)


def compiled(step, mode=None):
    """A step whose `forward` is compiled."""
    torch._dynamo.reset()
    step.forward = torch.compile(step.forward, mode=mode)

    def run(*arguments):
        if mode:
            torch.compiler.cudagraph_mark_step_begin()
        return step(*arguments)

    return run


VARIANTS = {"eager": lambda step: step, "compile": compiled, "compile_cuda_graphs": lambda step: compiled(step, "reduce-overhead")}


def variants(prepares, make, measured, name, results, out):
    """Puts what `measured` returns of each variant of the step that `make` makes into results[name]; False if one failed."""
    good = True
    for variant, prepare in prepares.items():
        try:
            result = measured(prepare(make()))
        except Exception as e:  # the other variants are still worth having
            good = False
            result = failure(e)
        results[name][variant] = result
        print(name, variant, json.dumps(result), flush=True)
        keep(results, out)
    return good


def failure(e):
    return {"failure": f"{type(e).__name__}: {e}"[:500]}


def keep(results, file):
    """Called after every measurement: what was measured before a time limit is not lost."""
    with open(file, "w") as out:
        json.dump(results, out, indent=2)
