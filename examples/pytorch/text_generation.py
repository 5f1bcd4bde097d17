"""The network of examples/text_generation.py in PyTorch, to compare with at equal steps."""

import numpy as np
import torch
from torch import nn


class Network(nn.Module):
    """Embedding, LSTM, linear; begins with weights of the clstm model."""

    def __init__(self, embeddings, kernel, recurrent_kernel, bias, dense, dense_bias):
        super().__init__()
        classes, features = embeddings.shape
        units = len(recurrent_kernel)
        self.embedding = nn.Embedding(classes, features)
        self.lstm = lstm = nn.LSTM(features, units, batch_first=True)
        self.dense = nn.Linear(units, classes)
        for target, array in (
            (self.embedding.weight, embeddings),
            (lstm.weight_ih_l0, kernel.T),  # the gates stand in the same order
            (lstm.weight_hh_l0, recurrent_kernel.T),
            (lstm.bias_ih_l0, bias),
            (lstm.bias_hh_l0, 0 * bias),
            (self.dense.weight, dense.T),
            (self.dense.bias, dense_bias),
        ):
            target.data = torch.tensor(np.ascontiguousarray(array))
        lstm.bias_hh_l0.requires_grad_(False)  # of the two biases one moves, as in clstm

    def forward(self, x):
        """Tokens (B, T), padded with 0, to logits (B, T, classes). The padding is computed too:
        with packed sequences PyTorch takes several times as long."""
        return self.dense(self.lstm(self.embedding(x))[0])


def loss(model, x, y, reduction="mean"):
    logits = model(torch.tensor(x))
    return nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(y).long().flatten(),
                                       ignore_index=0, reduction=reduction)  # fmt: skip


def train(weights, epochs, test, rate, steps, epsilon, clip):
    """Bits per character of the test rows (x, y) after each of `epochs`, iterables of batches.

    The rate falls linearly to 0 in so many steps.
    """
    model = Network(*weights)
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(trained, lr=rate, eps=epsilon)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / steps)
    curve = []
    for batches in epochs:
        for x, y in batches:
            adam.zero_grad()
            loss(model, x, y).backward()
            nn.utils.clip_grad_norm_(trained, clip)
            adam.step()
            schedule.step()
        with torch.no_grad():
            total = sum(loss(model, test[0][k : k + 128], test[1][k : k + 128], "sum").item()
                        for k in range(0, len(test[0]), 128))  # fmt: skip
        curve.append(total / (test[1] > 0).sum() / np.log(2))
    return curve
