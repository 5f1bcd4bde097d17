"""What options of the LSTM layer cost: `python benchmarks/options.py`.

A training step of the layer, masks drawn anew in each, at (B, T, I, H) = (32, 100, 256, 256);
rounds in which every option runs once, in an order that turns. Writes results/options/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from machine import describe

import clstm
from clstm.layers import LSTM

RESULTS = Path(__file__).with_name("results") / "options"
B, T, I, H = 32, 100, 256, 256
OPTIONS: dict[str, dict] = {
    "plain": {},
    "dropout, recurrent_dropout": {"dropout": 0.2, "recurrent_dropout": 0.2},
    "the same, dropout_per_step": {
        "dropout": 0.2, "recurrent_dropout": 0.2, "dropout_per_step": True,
    },
    "zoneout_h, zoneout_c": {"zoneout_h": 0.1, "zoneout_c": 0.1},
    "recurrent_dropconnect": {"recurrent_dropconnect": 0.2},
    "gradient_clip": {"gradient_clip": 1.0},
    "peephole": {"peephole": True},
    "coupled_input_forget": {"coupled_input_forget": True},
    "cell_clip, preactivation_clip": {"cell_clip": 1.0, "preactivation_clip": 3.0},
    "recurrent_activation='hard_sigmoid'": {"recurrent_activation": "hard_sigmoid"},
    "projection=128": {"projection": 128},
    "layer_norm='gate'": {"layer_norm": "gate"},
    "layer_norm='joint'": {"layer_norm": "joint"},
    "layer_norm='joint', cell_norm": {"layer_norm": "joint", "cell_norm": True},
    "cell='slstm', 4 heads": {"cell": "slstm", "num_heads": 4},
    "cell='minlstm'": {"cell": "minlstm"},
    "cell='rnn'": {"cell": "rnn"},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="local")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((B, T, n), np.float32) for n in (I, H))
    layers = {}
    for name, options in OPTIONS.items():
        layers[name] = LSTM(H, return_sequences=True, **options)
        layers[name].build((None, T, I))
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for k in range(arguments.rounds + 2):
        names = list(layers)
        for name in names[k % len(names) :] + names[: k % len(names)]:
            layer = layers[name]
            begin = time.perf_counter()
            _, tape = layer.forward(x, training=True)
            layer.backward(tape, dy[..., : layer.features])
            if k >= 2:  # two rounds to get warm
                seconds[name].append(time.perf_counter() - begin)
    table = {
        name: {
            "milliseconds": round(1e3 * statistics.median(times), 2),
            "of_plain": round(statistics.median(
                a / b for a, b in zip(times, seconds["plain"], strict=True)), 3),
        }
        for name, times in seconds.items()
    }  # fmt: skip
    threads = clstm.config.get_num_threads()
    result = {"shape": [B, T, I, H], "rounds": arguments.rounds, "clstm": clstm.__version__,
              "threads": threads, "machine": describe(threads), "options": table}  # fmt: skip
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{arguments.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, row in table.items():
        print(f"{name:40} {row['milliseconds']:8.2f} ms  {row['of_plain']:5.2f}x")


if __name__ == "__main__":
    main()
