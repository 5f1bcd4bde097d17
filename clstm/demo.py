"""What `clstm demo` does: train on real data, compare with simple baselines, measure the speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from . import LSTM, Dense, Sequential, config, set_seed
from .datasets import load_digits
from .optimizers import Adam
from .schedules import CosineDecay

Array = np.ndarray

BATCH = 32
RATE = 0.01  # of Adam at the start; half a cosine takes it to 0
SPEED_BATCHES = 40  # that each backend trains on, five times
REST = 0.3  # seconds before each turn


def shifted(x: Array) -> Array:
    """`x` (N, 8, 8) itself and moved by one pixel in all 8 directions: (9N, 8, 8)."""
    framed = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return np.concatenate(
        [framed[:, row : row + 8, column : column + 8] for row in (1, 0, 2) for column in (1, 0, 2)]
    )


def baselines(x: Array, y: Array, x_test: Array, y_test: Array) -> dict[str, float]:
    """Test accuracies of three methods that need no training, in plain NumPy."""
    x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    classes = np.unique(y)
    means = np.array([x[y == k].mean(axis=0) for k in classes])

    def nearest(points: Array, labels: Array) -> Array:
        """The label of the point nearest to each test row: |a - b|^2 without the constant |a|^2."""
        return labels[np.argmin((points**2).sum(axis=1) - 2 * x_test @ points.T, axis=1)]

    guesses = {
        "the most frequent class": np.full(len(y_test), np.bincount(y).argmax()),
        "the nearest class mean": nearest(means, classes),
        "the nearest training digit": nearest(x, y),
    }
    return {name: float((guess == y_test).mean()) for name, guess in guesses.items()}


def digit_model(steps: int) -> Sequential:
    """Which digit is it?  The reference program's two LSTM layers, with dropout, and ten classes.

    steps: batches of the whole training, which the learning rate falls over.
    """
    model = Sequential(name="digits")
    model.add(LSTM(64, input_shape=(8, 8), return_sequences=True, recurrent_dropout=0.1))
    model.add(LSTM(32, dropout=0.3))
    model.add(Dense(10, activation="softmax"))
    model.compile(
        optimizer=Adam(CosineDecay(RATE, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def odd_model() -> Sequential:
    """Is the digit odd?  The reference program as it stands."""
    model = Sequential(name="odd_or_even")
    model.add(LSTM(64, input_shape=(8, 8), return_sequences=True))
    model.add(LSTM(32))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Take the backend `name` for a while."""
    before = config.get_backend()
    config.set_backend(name)
    try:
        yield
    finally:
        config.set_backend(before)


def speeds(x: Array, y: Array, seed: int) -> dict[str, tuple[float, float]]:
    """Sequences a second and final loss of the reference program, by backend.

    Both train a model of their own on the same batches from the same initial weights; five turns
    each, one after the other, and the middle one counts. The rest before a turn is for the threads
    of the other's BLAS, which spin for a while after their work.
    """
    x, y = x[: SPEED_BATCHES * BATCH], y[: SPEED_BATCHES * BATCH]
    chosen = config.get_backend()
    rates: dict[str, list[float]] = {"auto" if chosen == "numpy" else chosen: [], "numpy": []}
    losses: dict[str, float] = {}
    models = {}
    for name in rates:
        with backend(name):
            set_seed(seed)
            models[name] = odd_model()
    for _ in range(5):
        for name in rates:
            time.sleep(REST)
            with backend(name):
                options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
                models[name].fit(x[: 4 * BATCH], y[: 4 * BATCH], **options)  # warm-up
                begin = time.perf_counter()
                history = models[name].fit(x, y, **options)
                rates[name].append(len(x) / (time.perf_counter() - begin))
                losses[name] = history.history["loss"][-1]
    return {name: (median(rates[name]), losses[name]) for name in rates}


def save_picture(path: Path, history: dict[str, list[float]], simple: dict[str, float]) -> bool:
    """Draw loss and accuracy over the epochs; False if matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, PercentFormatter
    except ImportError:
        return False
    epochs = range(1, len(history["loss"]) + 1)
    marker = "o" if len(epochs) < 5 else ""
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("clstm demo: handwritten digits, read row by row")
    left, right = figure.subplots(1, 2)
    train, test, grey = "#0072b2", "#d55e00", "#666666"
    for axes, name in ((left, "loss"), (right, "accuracy")):
        axes.plot(epochs, history[name], color=train, marker=marker, label="training (dropout on)")
        axes.plot(epochs, history[f"val_{name}"], color=test, marker=marker, label="test")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_title("Cross-entropy", loc="left", fontsize=11)
    left.set_yscale("log")
    left.legend(frameon=False)
    right.set_title(f"Accuracy: {history['val_accuracy'][-1]:.1%} on test digits at the end",
                    loc="left", fontsize=11)  # fmt: skip
    for name, accuracy in simple.items():
        right.axhline(accuracy, color=grey, linestyle="--", linewidth=1)
        right.annotate(f"{name}: {accuracy:.1%}", (1, accuracy), (-2, -4), color=grey, fontsize=9,
                       xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                       va="top")  # fmt: skip
    right.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    bottom = min(history["accuracy"] + history["val_accuracy"] + list(simple.values()))
    right.set_ylim(max(0.0, bottom - 0.05), 1.005)
    figure.savefig(path)
    return True


def run(epochs: int, output: Path, seed: int) -> float:
    """The whole demo; returns the test accuracy."""
    (x, y), (x_test, y_test) = load_digits()
    x_all, y_all = shifted(x), np.tile(y, 9)
    set_seed(seed)
    print(f"Data: {len(x):,} handwritten digits to train on and {len(x_test)} to test on, from")
    print("forms that training does not see, each a sequence of 8 rows of 8 pixels. Training has")
    print(f"every digit in 9 places, moved by up to one pixel: {len(x_all):,} sequences.\n")

    model = digit_model(steps=epochs * -(-len(x_all) // BATCH))
    model.summary()
    print()
    begin = time.perf_counter()
    history = model.fit(
        x_all, y_all, epochs=epochs, batch_size=BATCH, validation_data=(x_test, y_test), verbose=1
    ).history
    seconds = time.perf_counter() - begin
    accuracy = history["val_accuracy"][-1]
    simple = baselines(x, y, x_test, y_test)
    passes = f"{epochs} epoch{'s'[: epochs > 1]}"
    print(f"\nWhich digit is it?  After {passes} in {seconds:.1f} s, right on the test digits:")
    print(f"  {'this model':<28} {accuracy:6.1%}")
    for name, value in simple.items():
        print(f"  {name:<28} {value:6.1%}")

    odd = odd_model()
    odd.fit(x, y % 2, epochs=min(epochs, 10), batch_size=BATCH, verbose=0)
    simple_odd = baselines(x, y % 2, x_test, y_test % 2)["the nearest class mean"]
    print("\nIs it odd?  The reference program as it stands, "
          f"epochs={min(epochs, 10)}, batch_size={BATCH}, digits in one place:")  # fmt: skip
    print(f"  {'this model':<28} {odd.evaluate(x_test, y_test % 2, verbose=0)[1]:6.1%}")
    print(f"  {'the nearest class mean':<28} {simple_odd:6.1%}")

    measured = speeds(x, y % 2, seed)
    (fast, loss), (plain, loss_plain) = measured.values()
    threads = config.get_num_threads()
    print(f"\nTraining speed of the reference program, {SPEED_BATCHES * BATCH:,} sequences in "
          f"batches of {BATCH}, {threads} thread{'s'[: threads > 1]}:")  # fmt: skip
    print(f"  {'clstm':<28} {fast:8,.0f} sequences/s   loss {loss:.4f}")
    print(f"  {'its layers in plain NumPy':<28} {plain:8,.0f} sequences/s   loss {loss_plain:.4f}")
    print(f"  {'ratio':<28} {fast / plain:8.1f}")

    del simple["the most frequent class"]  # far below
    if save_picture(output, history, simple):
        print(f"\nLearning curve: {output}")
    else:
        print("\nNo learning curve: matplotlib is not installed (pip install matplotlib)")
    return accuracy
