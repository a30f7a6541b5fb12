"""models.py OUT.json MODELS.json FOLDER [quick]: the models of GpuModels in PyTorch, from the same weights, on the same data, in bf16
by autocast with f32 weights: eager, compiled, and compiled with CUDA graphs. The losses of the first steps must agree with Heddle's."""
import json
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

import measure

LAUNCHED = 10  # steps between two reads of the loss


def load(file):
    """The tensors of a safetensors file, on the device."""
    with open(file, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        data = bytearray(f.read())
    kinds = {"BF16": torch.bfloat16, "F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, spec in header.items():
        if name != "__metadata__":
            begin, end = spec["data_offsets"]
            raw = torch.frombuffer(data, dtype=torch.uint8, count=end - begin, offset=begin)
            tensors[name] = raw.view(kinds[spec["dtype"]]).reshape(spec["shape"]).to(measure.device())
    return tensors


# Modules have the names of Heddle's, so that weights find their places.

class Attention(nn.Module):
    def __init__(self, dim, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, t, c = x.shape
        split = lambda y: y.view(b, t, self.heads, c // self.heads).transpose(1, 2)  # (B, H, T, D)
        k, v = self.key_value(x).split(c, 2)
        y = F.scaled_dot_product_attention(split(self.query(x)), split(k), split(v), is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class FeedForward(nn.Module):
    def __init__(self, dim, hidden, approximate):
        super().__init__()
        self.up, self.down, self.approximate = nn.Linear(dim, hidden), nn.Linear(hidden, dim), approximate

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate=self.approximate))


class Block(nn.Module):
    def __init__(self, dim, heads, hidden, gpt):
        super().__init__()
        eps = 1e-5 if gpt else 1e-12
        self.gpt, self.norm1, self.norm2 = gpt, nn.LayerNorm(dim, eps), nn.LayerNorm(dim, eps)
        self.attention, self.feed_forward = Attention(dim, heads, gpt), FeedForward(dim, hidden, "tanh" if gpt else "none")

    def forward(self, x):
        if self.gpt:
            x = x + self.attention(self.norm1(x))
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.feed_forward(x))


class Transformer(nn.Module):
    """GPT-2, or BERT with a prediction at each position."""

    def __init__(self, gpt, spec, weights):
        super().__init__()
        self.gpt, self.layers = gpt, spec["layers"]
        dim = weights["tokens"].shape[1]
        self.tokens, self.positions = nn.Parameter(torch.empty_like(weights["tokens"])), nn.Parameter(torch.empty_like(weights["positions"]))
        if not gpt:
            self.segments = nn.Parameter(torch.empty_like(weights["segments"]))
        self.norm = nn.LayerNorm(dim, 1e-5 if gpt else 1e-12)
        for i in range(self.layers):
            setattr(self, f"block{i}", Block(dim, spec["heads"], weights["block0.feed_forward.up.weight"].shape[0], gpt))

    def forward(self, x, y):
        h = F.embedding(x, self.tokens) + self.positions[:x.shape[1]]
        h = h if self.gpt else self.norm(h + self.segments[:1])
        for i in range(self.layers):
            h = getattr(self, f"block{i}")(h)
        logits = F.linear(self.norm(h) if self.gpt else h, self.tokens)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))


def conv(channels, out, kernel, stride=1):
    return nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        if stride > 1 or channels != 4 * width:
            self.downsample = nn.Sequential(conv(channels, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.bn3(self.conv3(h)) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.small = spec["small"]
        self.conv1, self.bn1 = conv(3, 64, 3) if self.small else conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        channels, self.stages = 64, len(spec["blocks"])
        for i, count in enumerate(spec["blocks"]):
            blocks = []
            for k in range(count):
                blocks.append(Bottleneck(channels, 64 << i, 2 if i > 0 and k == 0 else 1))
                channels = 4 * (64 << i)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, spec["classes"])

    def forward(self, x, y):
        h = F.relu(self.bn1(self.conv1(x)))
        h = h if self.small else F.max_pool2d(h, 3, 2, 1)
        for i in range(self.stages):
            h = getattr(self, f"layer{i + 1}")(h)
        return F.cross_entropy(self.fc(h.mean((2, 3))), y)


class Step:
    """A model with its optimizer, built anew for each variant."""

    def __init__(self, name, spec, folder):
        tensors = load(f"{folder}/{name}.safetensors")
        self.batches = []
        while f"x{len(self.batches)}" in tensors:
            i = len(self.batches)
            x = tensors.pop(f"x{i}")
            self.batches.append((x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x, tensors.pop(f"y{i}")))
        self.model = (ResNet(spec) if name == "resnet50" else Transformer(name == "gpt2", spec, tensors)).to(measure.device())
        missing, unexpected = self.model.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
        if unexpected or any("running" not in m and "num_batches" not in m for m in missing):
            raise ValueError(f"{name}: missing {missing}, unexpected {unexpected}")
        fused = measure.device().type == "cuda"
        if name == "resnet50":
            self.model = self.model.to(memory_format=torch.channels_last)
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, fused=fused)
        else:
            gpt = name == "gpt2"
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4 if gpt else 1e-4, betas=(0.9, 0.95 if gpt else 0.999),
                                               weight_decay=0.1 if gpt else 0.01, fused=fused)
        self.clip = name != "resnet50"
        self.forward = self.model

    def __call__(self, i):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(measure.device().type, torch.bfloat16):
            loss = self.forward(*self.batches[i % len(self.batches)])
        loss.backward()
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1)
        self.optimizer.step()
        return loss.detach()


def units_per_second(run, units, seconds):
    run(0).item()
    start = time.perf_counter()
    steps = 0
    while time.perf_counter() < start + seconds:
        for _ in range(LAUNCHED):
            loss = run(steps)
            steps += 1
        loss.item()
    return steps * units / (time.perf_counter() - start)


def main():
    out, models, folder = sys.argv[1:4]
    quick = "quick" in sys.argv[4:]
    seconds, rounds = (0.02, 2) if quick else (3, 3)
    torch.backends.cudnn.benchmark = True
    gpu = measure.device().type == "cuda"
    with open(models) as file:
        specs = json.load(file)
    results = {"torch": torch.__version__, "device": str(measure.device())}
    good = True
    for name, spec in specs.items():
        step = Step(name, spec, folder)
        losses = [step(i).item() for i in range(len(spec["losses"]))]
        results[name] = {"losses": losses, "loss_difference": max(abs(a - b) / max(0.1, abs(b)) for a, b in zip(spec["losses"], losses))}
        del step
        measure.keep(results, out)

        def make():
            if gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            return Step(name, spec, folder)

        def measured(run):
            for i in range(3):
                run(i)
            return {"units_per_second": measure.median([units_per_second(run, spec["units"], seconds) for _ in range(rounds)]),
                    "peak_bytes": torch.cuda.max_memory_allocated() if gpu else None}

        good &= measure.variants(measure.VARIANTS, make, measured, name, results, out)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
