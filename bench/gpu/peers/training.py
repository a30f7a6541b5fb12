"""training.py OUT.json TRAINING.json FOLDER [quick]: the training steps of GpuTraining in PyTorch, from the same weights, on the same
data: eager, the whole step in one CUDA graph, compiled, and compiled with CUDA graphs. The losses of the first steps, without
dropout, must agree with Heddle's."""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

import measure

UNREAD = 50  # steps between two reads of the loss


class Step:
    """One model with its optimizer, built anew for each variant."""

    def __init__(self, name, spec, folder):
        self.mlp = name == "mlp"
        values = torch.frombuffer(bytearray(open(f"{folder}/{name}.f32", "rb").read()), dtype=torch.float32)
        self.p = []
        for shape in spec["shapes"]:
            n = math.prod(shape)
            self.p.append(torch.nn.Parameter(values[:n].reshape(shape).to(measure.device())))
            values = values[n:]
        self.x = values.reshape(-1, 784) if self.mlp else values.reshape(-1, 1, 28, 28)
        self.x = self.x.to(measure.device())
        self.y = torch.tensor(spec["labels"], device=measure.device())
        gpu = measure.device().type == "cuda"
        self.optimizer = (torch.optim.SGD(self.p, lr=0.05, fused=True) if self.mlp
                          else torch.optim.Adam(self.p, lr=1e-3, fused=True, capturable=gpu))
        self.forward = self.loss

    def loss(self, dropout):
        p, h = self.p, self.x
        if self.mlp:
            h = F.relu(F.linear(h, p[0], p[1]))
            h = F.linear(F.relu(F.linear(h, p[2], p[3])), p[4], p[5])
        else:
            h = F.relu(F.conv2d(F.relu(F.conv2d(h, p[0], p[1])), p[2], p[3]))
            h = F.dropout(F.max_pool2d(h, 2), 0.25, dropout).flatten(1)
            h = F.dropout(F.relu(F.linear(h, p[4], p[5])), 0.5, dropout)
            h = F.linear(h, p[6], p[7])
        return F.cross_entropy(h, self.y)

    def __call__(self, dropout=True):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward(dropout)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def graphed(step):
    """The whole step, captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    step.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = step.forward(True)
        loss.backward()
        step.optimizer.step()

    def replay():
        graph.replay()
        return loss

    return replay


def steps_per_second(run, seconds, unread):
    start = time.perf_counter()
    steps = 0
    while time.perf_counter() < start + seconds:
        for _ in range(UNREAD if unread else 1):
            loss = run()
            steps += 1
        loss.item()
    return steps / (time.perf_counter() - start)


def main():
    out, training, folder = sys.argv[1:4]
    quick = "quick" in sys.argv[4:]
    seconds, rounds = (0.02, 2) if quick else (1, 3)
    measure.same_precision()
    with open(training) as file:
        specs = json.load(file)
    results = {"torch": torch.__version__, "device": str(measure.device())}
    good = True

    def measured(run):
        steps_per_second(run, seconds, True)
        return {"steps_per_second": measure.median([steps_per_second(run, seconds, True) for _ in range(rounds)]),
                "steps_per_second_loss_read": measure.median([steps_per_second(run, seconds, False) for _ in range(rounds)])}

    for name, spec in specs.items():
        step = Step(name, spec, folder)
        losses = [step(False).item() for _ in spec["losses"]]
        results[name] = {"losses": losses, "loss_difference": max(abs(a - b) / max(0.1, abs(b)) for a, b in zip(spec["losses"], losses))}
        variants = {"cuda_graph": graphed, **measure.VARIANTS}
        good &= measure.variants(variants, lambda: Step(name, spec, folder), measured, name, results, out)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
