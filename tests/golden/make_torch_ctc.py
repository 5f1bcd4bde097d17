"""Makes torch_ctc.npz with PyTorch in float64:  python make_torch_ctc.py"""

import platform

import numpy as np
import torch
from golden_io import Writer, grid

torch.set_num_threads(1)
rng = np.random.RandomState(5)
ctc = Writer(
    versions={
        "torch": torch.__version__,
        "numpy": np.__version__,
        "dtype": "float64",
        "python": platform.python_version(),
    },
    what="nn.functional.ctc_loss of log_softmax(logits): losses by row, gradient of their sum",
)


def case(name, B, T, K, L, blank=0, scale=2.0, ragged=False):
    logits = torch.tensor(grid(rng, B, T, K, scale=scale)).requires_grad_()
    labels = rng.randint(0, K - 1, (B, L))
    labels += labels >= blank
    steps = rng.randint(2 * L, T + 1, B) if ragged else np.full(B, T)
    lengths = rng.randint(0, L + 1, B) if ragged else np.full(B, L)
    losses = torch.nn.functional.ctc_loss(
        torch.log_softmax(logits, dim=2).transpose(0, 1), torch.tensor(labels),
        torch.tensor(steps), torch.tensor(lengths), blank=blank, reduction="none",
    )  # fmt: skip
    losses.sum().backward()
    arrays = {"logits": logits.detach().numpy(), "labels": labels, "steps": steps}
    arrays |= {"lengths": lengths, "losses": losses.detach().numpy(), "d": logits.grad.numpy()}
    ctc.add(name, {"blank": blank}, arrays)


case("plain", 3, 12, 5, 4)
case("ragged", 6, 15, 7, 5, ragged=True)
case("blank-last", 4, 11, 6, 3, blank=5, ragged=True)
case("repeats", 3, 14, 3, 6)
case("sharp", 2, 30, 9, 11, scale=64.0)
ctc.write("torch_ctc.npz")
