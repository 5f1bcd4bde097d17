"""Makes torch_*.npz with PyTorch in float64:  python make_torch.py  (after the Keras scripts)

Weights are stored in PyTorch's own layout (4H, I), gate order i f g o, and transposed by the test.
"""

import platform

import numpy as np
import torch
from golden_io import Writer, grid, load

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
VERSIONS = {
    "torch": torch.__version__,
    "numpy": np.__version__,
    "dtype": "float64",
    "python": platform.python_version(),
}
rng = np.random.RandomState(21)


# ---- B. nn.LSTM --------------------------------------------------------------------------------
lstm = Writer(
    versions=VERSIONS,
    what="nn.LSTM(batch_first=True): outputs and gradients",
    loss="sum(y*dy) + sum(h*dh) + sum(c*dc); dy is 0 past a row's length",
)


def draw(*shape, scale=1.0):
    return torch.tensor(grid(rng, *shape, scale=scale))


def lstm_case(name, B, T, I, H, lengths=None, **args):
    layer = torch.nn.LSTM(I, H, batch_first=True, **args)
    D = 2 if args.get("bidirectional") else 1
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.tensor(grid(rng, *p.shape, scale=0.5)))
    x, h0, c0 = draw(B, T, I, scale=2.0), draw(D, B, H), draw(D, B, H, scale=2.0)
    for a in (x, h0, c0):
        a.requires_grad_()
    if lengths is None:
        y, (h, c) = layer(x, (h0, c0))
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        y, (h, c) = layer(packed, (h0, c0))
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
    dy, dh, dc = draw(*y.shape), draw(*h.shape), draw(*c.shape)
    if lengths is not None:
        dy *= (torch.arange(T)[None, :] < torch.tensor(lengths)[:, None])[:, :, None]
    ((y * dy).sum() + (h * dh).sum() + (c * dc).sum()).backward()
    arrays = {"x": x, "h0": h0, "c0": c0, "y": y, "h": h, "c": c, "dy": dy, "dh": dh, "dc": dc}
    arrays |= dict(layer.named_parameters())
    arrays |= {
        f"g_{k}": v.grad
        for k, v in dict(x=x, h0=h0, c0=c0, **dict(layer.named_parameters())).items()
    }
    arrays = {k: v.detach().numpy() for k, v in arrays.items()}
    if lengths is not None:
        arrays["lengths"] = np.array(lengths)
    lstm.add(name, args, arrays)


lstm_case("size-3-7-5-17", 3, 7, 5, 17)
lstm_case("size-1-1-1-1", 1, 1, 1, 1)
lstm_case("size-2-9-4-8", 2, 9, 4, 8)
lstm_case("no-bias", 3, 5, 4, 6, bias=False)
lstm_case("bidirectional", 3, 6, 4, 9, bidirectional=True)
lstm_case("packed", 5, 7, 3, 6, lengths=[3, 7, 1, 5, 3])
lstm_case("packed-short", 3, 7, 3, 6, lengths=[2, 4, 1])  # no row fills all steps
lstm_case("packed-bidirectional", 5, 7, 3, 6, lengths=[3, 7, 1, 5, 3], bidirectional=True)
lstm.write("torch_lstm.npz")


# ---- D. optimizers: rules that coincide with Keras's, and RAdam's, which Keras does not have ---
# eps sits elsewhere in PyTorch, so it is made too small to matter (1e-30) where that matters:
#   Adam  torch: lr/bc1 * m / (sqrt(v)/sqrt(bc2) + eps)
#         Keras: lr*sqrt(bc2)/bc1 * m / (sqrt(v) + eps)
#   AMSGrad  the same maximum of the raw v in both
#   Adagrad, RMSprop  torch: g / (sqrt(v) + eps)             Keras: g / sqrt(v + eps)
# RMSprop's and SGD's momentum multiply lr at another place: equal while lr is constant, as here.
# Not compared: weight_decay of torch's SGD and Adam (L2 in the gradient; Keras decouples
# it, as AdamW), clip_grad_norm_ (adds 1e-6 to the norm).
keras = load("keras_optimizers.npz")["grads"]
TINY = 1e-30
CASES = {  # name: (torch class, torch's arguments, Keras's class, Keras's arguments)
    "sgd": ("SGD", {"lr": 0.01}, "SGD", {}),
    "sgd-momentum": ("SGD", {"lr": 0.01, "momentum": 0.9}, "SGD", {"momentum": 0.9}),
    "sgd-nesterov": (
        "SGD",
        {"lr": 0.01, "momentum": 0.9, "nesterov": True},
        "SGD",
        {"momentum": 0.9, "nesterov": True},
    ),
    "adam": ("Adam", {"lr": 0.001, "eps": TINY}, "Adam", {"epsilon": TINY}),
    "adam-betas": (
        "Adam",
        {"lr": 0.1, "betas": (0.8, 0.9), "eps": TINY},
        "Adam",
        {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": TINY},
    ),
    "adam-amsgrad": (
        "Adam",
        {"lr": 0.001, "amsgrad": True, "eps": TINY},
        "Adam",
        {"amsgrad": True, "epsilon": TINY},
    ),
    "adamw": (
        "AdamW",
        {"lr": 0.1, "weight_decay": 0.05, "eps": TINY},
        "AdamW",
        {"learning_rate": 0.1, "weight_decay": 0.05, "epsilon": TINY},
    ),
    "adagrad": (
        "Adagrad",
        {"lr": 0.1, "initial_accumulator_value": 0.1, "eps": TINY},
        "Adagrad",
        {"learning_rate": 0.1, "epsilon": TINY},
    ),
    "rmsprop": ("RMSprop", {"lr": 0.001, "alpha": 0.9, "eps": TINY}, "RMSprop", {"epsilon": TINY}),
    "rmsprop-centered": (
        "RMSprop",
        {"lr": 0.001, "alpha": 0.8, "momentum": 0.9, "centered": True, "eps": TINY},
        "RMSprop",
        {"rho": 0.8, "momentum": 0.9, "centered": True, "epsilon": TINY},
    ),
    "radam": ("RAdam", {"lr": 0.001}, "RAdam", {}),
    "radam-betas": (
        "RAdam",
        {
            "lr": 0.1,
            "betas": (0.8, 0.9),
            "eps": 1e-3,
            "weight_decay": 0.05,
            "decoupled_weight_decay": True,
        },
        "RAdam",
        {
            "learning_rate": 0.1,
            "beta_1": 0.8,
            "beta_2": 0.9,
            "epsilon": 1e-3,
            "weight_decay": 0.05,
        },
    ),
}
optim = Writer(
    versions=VERSIONS,
    what="parameters after each of 25 steps, for the start and gradients of "
    "keras_optimizers.npz, moved off 0 (see `grads`)",
)
grads = keras.grads + 2.0**-10  # no gradient is exactly 0: 0/eps would be compared otherwise
optim.add("grads", {}, {"grads": grads, "start": keras.start})
for name, (kind, args, keras_kind, keras_args) in CASES.items():
    parameter = torch.nn.Parameter(torch.tensor(keras.start))
    optimizer = getattr(torch.optim, kind)([parameter], **args)
    path = []
    for g in grads:
        parameter.grad = torch.tensor(g)
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    optim.add(
        f"optimizer/{name}",
        {"torch": [kind, args], "optimizer": keras_kind, "args": keras_args},
        {"path": path},
    )
SCHEDULES = {  # name: arguments
    "one-cycle": {"total_steps": 50},
    "one-cycle-early": {
        "total_steps": 20,
        "pct_start": 0.1,
        "div_factor": 10.0,
        "final_div_factor": 100.0,
    },
    "one-cycle-down": {"total_steps": 20, "pct_start": 0.0},
    "one-cycle-up": {"total_steps": 20, "pct_start": 1.0},
}
for name, args in SCHEDULES.items():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, **args)
    rates = []
    for _ in range(args["total_steps"]):
        rates += schedule.get_last_lr()
        optimizer.step()
        if len(rates) < args["total_steps"]:
            schedule.step()
    optim.add(
        f"schedule/{name}",
        {"schedule": "OneCycle", "args": {"max_learning_rate": 0.1, **args}},
        {"rates": rates},
    )
optim.write("torch_optimizers.npz")


# ---- E. training the reference program ---------------------------------------------------------
# The weights, data and batches of keras_training.npz. bias_hh is 0 and frozen: with both biases
# trained, their sum would move by the two equal Adam steps, twice as far as the one bias of Keras.
# Keras's Adam adds epsilon to sqrt(v), PyTorch's to sqrt(v)/sqrt(1 - beta_2^t): the step's
# eps = 1e-7/sqrt(1 - beta_2^t) states Keras's rule in PyTorch's terms (a constant 1e-7 changes the
# losses by up to 2e-4, this agrees to 5e-8).
training = Writer(
    versions=VERSIONS, what="losses of 50 steps on the data of keras_training.npz, case `small`"
)
case = load("keras_training.npz")["small"]
first = [q * s for q, s in zip(case.list("q"), case.config["scales"], strict=False)]


class Net(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        units = case.config["units"]
        self.one = torch.nn.LSTM(10, units[0], batch_first=True)
        self.two = torch.nn.LSTM(units[0], units[1], batch_first=True)
        self.out = torch.nn.Linear(units[1], 1)
        with torch.no_grad():
            for layer, (kernel, recurrent, bias) in [
                (self.one, weights[:3]),
                (self.two, weights[3:6]),
            ]:
                layer.weight_ih_l0.copy_(torch.tensor(kernel.T))
                layer.weight_hh_l0.copy_(torch.tensor(recurrent.T))
                layer.bias_ih_l0.copy_(torch.tensor(bias))
                layer.bias_hh_l0.zero_().requires_grad_(False)
            self.out.weight.copy_(torch.tensor(weights[6].T))
            self.out.bias.copy_(torch.tensor(weights[7]))

    def forward(self, x):
        return torch.sigmoid(self.out(self.two(self.one(x)[0])[0][:, -1]))

    def weights(self):  # in the order and layout of Keras's get_weights
        one, two, out = self.one, self.two, self.out
        return [
            p.detach().numpy().T
            for p in (
                one.weight_ih_l0,
                one.weight_hh_l0,
                one.bias_ih_l0,
                two.weight_ih_l0,
                two.weight_hh_l0,
                two.bias_ih_l0,
                out.weight,
                out.bias,
            )
        ]


net = Net(first)
adam = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.001)
losses = []
for k in range(50):
    rows = slice(32 * (k % 4), 32 * (k % 4) + 32)
    adam.param_groups[0]["eps"] = 1e-7 / np.sqrt(1 - 0.999 ** (k + 1))
    adam.zero_grad()
    loss = torch.nn.functional.binary_cross_entropy(
        net(torch.tensor(case.x[rows] * case.config["unit"])),
        torch.tensor(case.y[rows].astype(float)),
    )
    loss.backward()
    adam.step()
    losses.append(loss.item())
print("losses against Keras:", np.abs(np.array(losses) / case.losses - 1).max())
final = [w.astype(np.float32) for w in net.weights()]
training.add("small", {}, dict(losses=losses, **{f"final{i}": w for i, w in enumerate(final)}))
training.write("torch_training.npz")
