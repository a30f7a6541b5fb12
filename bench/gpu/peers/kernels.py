"""kernels.py OUT.json BENCH.json [quick]: times in PyTorch the cases that `heddle bench kernels` wrote, eagerly, and compiled where a compiler can fuse."""
import json
import sys

import torch
import torch.nn.functional as F

import measure

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
FUSABLE = {"gelu", "chain", "softmax", "layernorm", "rmsnorm", "crossentropy", "linear_relu", "linear_gelu", "conv_bias", "batchnorm"}


def randn(dtype, *shape):
    return torch.randn(shape, device=measure.device(), dtype=dtype)


def cross_entropy(x, y):
    loss = F.cross_entropy(x, y, reduction="sum")
    return loss, torch.autograd.grad(loss, x)[0]


def attention_backward(q, k, v, gradient):
    return torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), gradient)


def adamw(count):
    """The same matrices as StandardCases makes."""
    parameters = []
    left = count
    while left > 0:
        rows = min(max(left // 768, 1), 3072 if parameters else 50304)
        p = torch.nn.Parameter(randn(torch.float32, rows, min(left, 768)))
        p.grad = torch.randn_like(p)
        parameters.append(p)
        left -= p.numel()
    return torch.optim.AdamW(parameters, fused=True).step, ()


def case(name):
    """A function and its arguments."""
    kind, dtype, extents = name.split(" ")
    dtype = DTYPES[dtype]
    d = [int(extent) for extent in extents.split("x")]
    n = d[-1]
    if kind == "add":
        return torch.add, (randn(dtype, *d), randn(dtype, *d))
    if kind == "gelu":
        return F.gelu, (randn(dtype, *d),)
    if kind == "chain":
        return lambda x, y, z: torch.tanh(x * y + z), (randn(dtype, *d), randn(dtype, *d), randn(dtype, *d))
    if kind == "sum":
        return lambda x: x.sum(-1), (randn(dtype, *d),)
    if kind == "softmax":
        return lambda x: F.softmax(x, -1), (randn(dtype, *d),)
    if kind == "layernorm":
        return lambda x, w, b: F.layer_norm(x, (n,), w, b), (randn(dtype, *d), randn(dtype, n), randn(dtype, n))
    if kind == "layernorm_backward":
        x, w = randn(dtype, *d), randn(dtype, n)
        _, mean, rstd = torch.ops.aten.native_layer_norm(x, [n], w, w, 1e-5)
        return (lambda dy, x, m, r, w: torch.ops.aten.native_layer_norm_backward(dy, x, [n], m, r, w, w, [True, True, True]),
                (randn(dtype, *d), x, mean, rstd, w))
    if kind == "rmsnorm":
        return lambda x, w: F.rms_norm(x, (n,), w), (randn(dtype, *d), randn(dtype, n))
    if kind == "crossentropy":
        return cross_entropy, (randn(dtype, *d).requires_grad_(), torch.randint(0, n, (d[0],), device=measure.device()))
    if kind == "matmul":  # M x N x K
        return torch.matmul, (randn(dtype, d[0], d[2]), randn(dtype, d[2], d[1]))
    if kind == "linear_gelu":
        return lambda x, w, b: F.gelu(F.linear(x, w, b)), (randn(dtype, d[0], d[2]), randn(dtype, d[1], d[2]), randn(dtype, d[1]))
    if kind == "linear":
        return F.linear, (randn(dtype, d[0], d[2]), randn(dtype, d[1], d[2]), randn(dtype, d[1]))
    if kind == "linear_relu":
        return lambda x, w, b: F.relu(F.linear(x, w, b)), (randn(dtype, d[0], d[2]), randn(dtype, d[1], d[2]), randn(dtype, d[1]))
    last = torch.channels_last
    convolutions = {"conv": (d[1], 3, 1), "conv_1x1": (4 * d[1], 1, 1), "conv_stride2": (2 * d[1], 3, 2)} if len(d) == 4 else {}
    if kind in convolutions:
        channels, size, stride = convolutions[kind]
        return (lambda x, w: F.conv2d(x, w, stride=stride, padding=size // 2),
                (randn(dtype, *d).to(memory_format=last), randn(dtype, channels, d[1], size, size).to(memory_format=last)))
    if kind == "conv_bias":
        return (lambda x, w, b: F.conv2d(x, w, b, padding=1),
                (randn(dtype, *d).to(memory_format=last), randn(dtype, d[1], d[1], 3, 3).to(memory_format=last), randn(dtype, d[1])))
    if kind == "maxpool":
        return lambda x: F.max_pool2d(x, 3, 2, 1), (randn(dtype, *d).to(memory_format=last),)
    if kind == "avgpool":
        return lambda x: F.avg_pool2d(x, 3, 2, 1), (randn(dtype, *d).to(memory_format=last),)
    if kind == "batchnorm":
        return (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
                (randn(dtype, *d).to(memory_format=last), randn(torch.float32, d[1]), randn(torch.float32, d[1])))
    if kind == "batchnorm_backward":
        x, w = randn(dtype, *d).to(memory_format=last), randn(torch.float32, d[1])
        _, mean, rstd = torch.ops.aten.native_batch_norm(x, w, w, None, None, True, 0.1, 1e-5)
        return (lambda x, w, m, r, dy: torch.ops.aten.native_batch_norm_backward(dy, x, w, None, None, m, r, True, 1e-5, [True, True, True]),
                (x, w, mean, rstd, randn(dtype, *d).to(memory_format=last)))
    if kind in ("attention", "attention_causal"):
        return (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=kind != "attention"),
                (randn(dtype, *d), randn(dtype, *d), randn(dtype, *d)))
    if kind == "attention_backward":
        return attention_backward, (*(randn(dtype, *d).requires_grad_() for _ in range(3)), randn(dtype, *d))
    if kind == "adamw":
        return adamw(d[0])
    raise ValueError(name + ": no such case")


def main():
    out, bench = sys.argv[1:3]
    quick = "quick" in sys.argv[3:]
    measure.same_precision()
    with open(bench) as file:
        names = list(json.load(file)["cases"])
    results = {"torch": torch.__version__, "device": str(measure.device()), "cases": {}}
    failed = False
    for name in names:
        result = results["cases"][name] = {}
        try:
            function, arguments = case(name)
            result["eager_us"] = measure.microseconds(lambda: function(*arguments), quick)
            if name.split(" ")[0] in FUSABLE:
                torch._dynamo.reset()
                compiled = torch.compile(function)
                result["compile_us"] = measure.microseconds(lambda: compiled(*arguments), quick)
        except Exception as e:  # the other cases are still worth having
            failed = True
            result.update(measure.failure(e))
        print(name, json.dumps(result), flush=True)
        measure.keep(results, out)
        function = arguments = compiled = None
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
