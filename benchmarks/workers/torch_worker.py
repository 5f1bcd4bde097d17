"""PyTorch: nn.LSTM, time-major (its own order), one of its two biases at 0.

forward under inference_mode; train by autograd.grad; lengths through PackedSequence; the reference
program as a loop written by hand.
"""

import itertools

import protocol  # first: it takes stdout for itself
import torch
from cases import UNITS, layer, program, train_outputs
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.set_num_threads(protocol.THREADS)


def load_lstm(lstm, kernel, recurrent_kernel, bias):
    """Gates i f g o in both."""
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(kernel.T))
        lstm.weight_hh_l0.copy_(torch.from_numpy(recurrent_kernel.T))
        lstm.bias_ih_l0.copy_(torch.from_numpy(bias))
        lstm.bias_hh_l0.zero_()
    return lstm


def swapped(tensor):
    """(B, T, ..) <-> (T, B, ..), contiguous."""
    return tensor.swapaxes(0, 1).contiguous()


def build(case):
    return fit(case) if case["task"] == "fit" else layer_job(case)


def layer_job(case):
    a = layer(case)
    lstm = load_lstm(nn.LSTM(a.kernel.shape[0], a.h0.shape[1]), *a[1:4])
    x = swapped(torch.from_numpy(a.x))
    h0, c0 = (torch.from_numpy(s)[None] for s in (a.h0, a.c0))
    lengths = None if a.lengths is None else torch.from_numpy(a.lengths)

    def run(x):
        if lengths is None:
            return lstm(x, (h0, c0))
        packed, state = lstm(pack_padded_sequence(x, lengths, enforce_sorted=False), (h0, c0))
        return pad_packed_sequence(packed, total_length=len(x))[0], state

    if case["task"] == "forward":
        return protocol.Job(
            torch.inference_mode()(lambda: run(x)),
            lambda r: {k: t.numpy() for k, t in zip(
                "yhc", (swapped(r[0]), r[1][0][0], r[1][1][0]), strict=True)},
        )  # fmt: skip

    dy = swapped(torch.from_numpy(a.dy))
    for array in (x, h0, c0):
        array.requires_grad_()
    wanted = [x, lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0, h0, c0]

    def step():
        y, _ = run(x)
        return y.detach(), *torch.autograd.grad(y, wanted, dy)

    def outputs(r):
        y, dx, dw, du, db, _, dh0, dc0 = r
        return train_outputs(*(t.numpy() for t in (
            swapped(y), swapped(dx), dw.T, du.T, db, dh0[0], dc0[0])))  # fmt: skip

    return protocol.Job(step, outputs)


class Program(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.one = nn.LSTM(inputs, UNITS[0], batch_first=True)
        self.two = nn.LSTM(UNITS[0], UNITS[1], batch_first=True)
        self.dense = nn.Linear(UNITS[1], 1)
        for lstm in (self.one, self.two):
            lstm.bias_hh_l0.requires_grad_(False)  # one bias, as everybody else

    def forward(self, x):
        y, _ = self.one(x)
        _, (h, _) = self.two(y)
        return self.dense(h[0])


def fit(case):
    x, y, weights = program(case)
    batch = case["shape"][3]
    model = Program(x.shape[2])
    load_lstm(model.one, *weights[:3])
    load_lstm(model.two, *weights[3:6])
    with torch.no_grad():
        model.dense.weight.copy_(torch.from_numpy(weights[6].T))
        model.dense.bias.zero_()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    settings = optimizer.param_groups[0]
    steps = itertools.count(1)
    loss_of = nn.BCEWithLogitsLoss()

    def epoch(order=None):
        if order is None:
            order = torch.randperm(len(x))
        total, right = 0.0, 0
        for chosen in order.split(batch):
            xb, yb = x[chosen], y[chosen]
            optimizer.zero_grad()
            logits = model(xb)
            loss = loss_of(logits, yb)
            loss.backward()
            settings["eps"] = 1e-7 / (1 - 0.999 ** next(steps)) ** 0.5  # Keras's rule in torch's
            optimizer.step()
            total += loss.item() * len(xb)
            right += ((logits > 0) == (yb > 0.5)).sum().item()  # the accuracy that `fit` reports
        return total / len(x)

    in_order = lambda: epoch(torch.arange(len(x)))  # noqa: E731
    return protocol.Job(epoch, lambda loss: {"loss": loss}, check=in_order)


if __name__ == "__main__":
    protocol.serve(build, {"torch": torch.__version__})
