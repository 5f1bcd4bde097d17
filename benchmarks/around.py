"""Time what people build around an LSTM: attention, CTC, vocabularies, decoding; PyTorch beside it.

    python benchmarks/around.py --rival-python ENV/bin/python --name NAME

Each library runs in a process of its own, with as many threads, kept on as many cores; in each
round both run a case for a while, one after the other, 0.2 s apart. First both tell what they
computed, a few numbers that must agree to 2e-4 of the largest. A figure is the median of the
rounds' medians, a ratio the median of the rounds' ratios.

attention: self-attention of several heads over (B, T, E), four projections, forward and backward.
ctc: loss and gradient of logits (B, T, K) and labels (B, L).
vocabulary: a linear layer from H features to V tokens, its crossentropy, and all gradients.
decoding: a step of a sequence-to-sequence model, one row: embedding, LSTM, attention over S encoder
steps, a layer with tanh, V logits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CASES = {
    "attention": {"B": 32, "T": 100, "E": 256, "heads": 4},
    "ctc": {"B": 32, "T": 200, "K": 32, "L": 30},
    "ctc, long": {"B": 64, "T": 1000, "K": 64, "L": 100},
    "vocabulary": {"B": 32, "T": 35, "H": 256, "V": 10000},
    "decoding": {"H": 256, "V": 64, "S": 20},
}


def numbers(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32) * np.float32(
        scale)  # fmt: skip


def labels_of(B: int, T: int, K: int, L: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1, K, (B, L))


def decoder_weights(H: int, V: int, S: int) -> dict[str, np.ndarray]:
    s = H**-0.5
    return {"embeddings": numbers(V, H), "kernel": numbers(H, 4 * H, scale=s),
            "recurrent_kernel": numbers(H, 4 * H, scale=s, seed=1), "bias": numbers(4 * H),
            "memory": numbers(1, S, H, scale=s), "joint": numbers(2 * H, H, scale=s),
            "output": numbers(H, V, scale=s)}  # fmt: skip


class Clstm:
    """Each method gives a function that runs a case once, and returns some of its results."""

    def __init__(self, threads: int):
        import clstm

        clstm.config.set_num_threads(threads)

    def attention(self, B, T, E, heads):
        from clstm.layers import MultiHeadAttention

        layer, x, dy = MultiHeadAttention(heads, E // heads), numbers(B, T, E), numbers(B, T, E)
        layer.ensure_built(x.shape)
        for k, w in enumerate(layer.params.values()):
            w[...] = numbers(E, E, scale=E**-0.5, seed=k).reshape(w.shape) if w.size > E else 0

        def run():
            y, tape = layer.forward(x, training=True)
            return y[0, 0, :4], layer.backward(tape, dy)[0, 0, :4]

        return run

    def ctc(self, B, T, K, L):
        from clstm.functional import ctc_loss

        x, labels = numbers(B, T, K), labels_of(B, T, K, L)

        def run():
            losses, gradient = ctc_loss(x, labels)
            return losses[:4], gradient[0, 0, :4]

        return run

    def vocabulary(self, B, T, H, V):
        from clstm.layers import Dense
        from clstm.losses import SparseCategoricalCrossentropy

        layer, x = Dense(V), numbers(B, T, H)
        layer.ensure_built(x.shape)
        layer.params["kernel"][...] = numbers(H, V, scale=H**-0.5)
        loss, y = SparseCategoricalCrossentropy(True), labels_of(B, 0, V, T)

        def run():
            layer.grads["kernel"][...] = 0
            logits, tape = layer.forward(x, training=True)
            value, gradient = loss.value_and_gradient(y, logits, overwrite=True)
            dx = layer.backward(tape, gradient)
            return [value], dx[0, 0, :4], layer.grads["kernel"][0, :4]

        return run

    def decoding(self, H, V, S):
        from clstm import LSTM, Attention, Concatenate, Dense, Embedding, Input, Model

        w = decoder_weights(H, V, S)
        memory, tokens = Input((None, H), name="memory"), Input((None,), name="tokens")
        h = LSTM(H, return_sequences=True)(Embedding(V, H)(tokens))
        joint = Dense(H, activation="tanh", use_bias=False)(
            Concatenate()([h, Attention(scale=H**-0.5)(h, memory)]))  # fmt: skip
        model = Model([memory, tokens], Dense(V, use_bias=False)(joint))
        named = ("embeddings", "kernel", "recurrent_kernel", "bias", "joint", "output")
        model.set_weights([w[name] for name in named])
        stream, token = model.stream(1, context=w["memory"]), np.array([3])

        def run():
            return (stream.step(token)[0, :4],)

        return run


class Torch:
    """The same in PyTorch, in the way that is quickest there."""

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch

    def attention(self, B, T, E, heads):
        torch = self.torch
        layer = torch.nn.MultiheadAttention(E, heads, batch_first=True, bias=False)
        q, k, v, o = (numbers(E, E, scale=E**-0.5, seed=s) for s in (0, 2, 4, 6))
        with torch.no_grad():
            layer.in_proj_weight.copy_(torch.tensor(np.concatenate([q.T, k.T, v.T])))
            layer.out_proj.weight.copy_(torch.tensor(o.T))
        x, dy = torch.tensor(numbers(B, T, E), requires_grad=True), torch.tensor(numbers(B, T, E))
        wanted = [x, *layer.parameters()]

        def run():
            y, _ = layer(x, x, x, need_weights=False)
            dx = torch.autograd.grad(y, wanted, dy)[0]
            return y[0, 0, :4].detach().numpy(), dx[0, 0, :4].numpy()

        return run

    def ctc(self, B, T, K, L):
        torch = self.torch
        x = torch.tensor(numbers(B, T, K).transpose(1, 0, 2).copy(), requires_grad=True)
        labels = torch.tensor(labels_of(B, T, K, L))
        steps, lengths = torch.full((B,), T), torch.full((B,), L)

        def run():
            losses = torch.nn.functional.ctc_loss(x.log_softmax(2), labels, steps, lengths,
                                                  reduction="none")  # fmt: skip
            (dx,) = torch.autograd.grad(losses.sum(), x)
            return losses[:4].detach().numpy(), dx[0, 0, :4].numpy()

        return run

    def vocabulary(self, B, T, H, V):
        torch = self.torch
        kernel = torch.tensor(numbers(H, V, scale=H**-0.5).T.copy(), requires_grad=True)
        bias = torch.zeros(V, requires_grad=True)
        x = torch.tensor(numbers(B, T, H), requires_grad=True)
        y = torch.tensor(labels_of(B, 0, V, T)).flatten()

        def run():
            logits = torch.nn.functional.linear(x, kernel, bias)
            value = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y)
            dx, dw, _ = torch.autograd.grad(value, [x, kernel, bias])
            return [value.item()], dx[0, 0, :4].numpy(), dw[:4, 0].numpy()

        return run

    def decoding(self, H, V, S):
        torch = self.torch
        w = {k: torch.tensor(a) for k, a in decoder_weights(H, V, S).items()}
        cell = torch.nn.LSTMCell(H, H)
        with torch.no_grad():
            cell.weight_ih.copy_(w["kernel"].T)
            cell.weight_hh.copy_(w["recurrent_kernel"].T)
            cell.bias_ih.copy_(w["bias"])
            cell.bias_hh.zero_()
        memory, joint, output = w["memory"][0], w["joint"], w["output"]
        state, token = [(torch.zeros(1, H), torch.zeros(1, H))], torch.tensor([3])

        def run():
            with torch.inference_mode():
                state[0] = cell(w["embeddings"][token], state[0])
                h = state[0][0]
                seen = torch.softmax(h @ memory.T * H**-0.5, 1) @ memory
                y = torch.tanh(torch.cat([h, seen], 1) @ joint) @ output
                return (y[0, :4].numpy(),)

        return run


def child(library: str, threads: int) -> None:
    """Answer lines `case seconds`: first what it computes, then milliseconds of a call."""
    sides = {"clstm": Clstm, "torch": Torch}[library](threads)
    runs = {}
    for line in sys.stdin:
        name, seconds = line.rstrip("\n").split("\t")
        if name not in runs:
            runs[name] = getattr(sides, name.split(",")[0])(**CASES[name])
            found = [float(v) for part in runs[name]() for v in part]
            print(json.dumps(found), flush=True)
            continue
        times, end = [], time.perf_counter() + float(seconds)
        while not times or time.perf_counter() < end:
            began = time.perf_counter()
            runs[name]()
            times.append(time.perf_counter() - began)
        print(1e3 * statistics.median(times), flush=True)


class Side:
    def __init__(self, python: str, library: str, threads: int):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [python, __file__, "child", library, str(threads)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cores))  # fmt: skip

    def ask(self, name: str, seconds: float) -> str:
        self._process.stdin.write(f"{name}\t{seconds}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], int(sys.argv[3]))
        return
    import machine

    import clstm

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rival-python", required=True, help="a Python with PyTorch")
    parser.add_argument("--name", help="of a file in benchmarks/results/around/")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a library in a round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    sides = {"clstm": Side(sys.executable, "clstm", args.threads),
             "torch": Side(args.rival_python, "torch", args.threads)}  # fmt: skip
    result = {"machine": machine.describe(args.threads), "date": time.strftime("%Y-%m-%d"),
              "clstm": clstm.__version__, "threads": args.threads, "rounds": args.rounds,
              "cases": {}}  # fmt: skip
    for name, shape in CASES.items():
        ours, theirs = (np.array(json.loads(s.ask(name, 0))) for s in sides.values())
        difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        if not difference < 2e-4:
            raise SystemExit(f"{name}: results differ by {difference:.1e}")
        times = {library: [] for library in sides}
        for k in range(args.rounds + 1):
            order = list(sides) if k % 2 else list(sides)[::-1]
            for library in order:
                ms = float(sides[library].ask(name, args.seconds))
                time.sleep(0.2)
                if k:  # the first round warms up
                    times[library].append(ms)
        ratio = statistics.median(b / a for a, b in zip(*times.values(), strict=True))
        medians = {library: statistics.median(ms) for library, ms in times.items()}
        result["cases"][name] = {"shape": shape, "difference": difference, "ratio": ratio,
                                 **{f"{k}_ms": v for k, v in medians.items()}}  # fmt: skip
        print(f"{name:<12}{shape} clstm {medians['clstm']:.4g} ms, torch {medians['torch']:.4g} "
              f"ms: {ratio:.2f}x as fast", flush=True)  # fmt: skip
    if args.name:
        path = Path(__file__).parent / "results" / "around" / f"{args.name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
