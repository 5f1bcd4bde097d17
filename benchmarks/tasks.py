"""The classic long-term memory tasks, learned online: `python benchmarks/tasks.py`.

Each batch is new sequences: they are predicted, the errors judged, then the weights change. A task
is solved when the last sequences, as they were predicted, meet the criterion of those who set it;
then 2,560 fresh ones are tested. task_list.py has criteria and settings. Writes
results/tasks/NAME.json after each run; tasks that are run again replace their old runs there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Generator
from functools import partial
from pathlib import Path

import machine
import numpy as np
from tables import NONE, number, table
from task_data import DIGITS
from task_list import TASKS, Criterion, Task

import clstm
from clstm import LSTM, Dense, Embedding, Input, Model

RESULTS = Path(__file__).with_name("results") / "tasks"
TESTED = 2_560
BAI_LSTM_COPY = 0.0204  # Bai et al. 2018, table 1: copy memory, T = 1000, 16K weights
Array = np.ndarray


class Outputs(clstm.metrics.Metric):
    """Keeps the outputs of the last batch, as they were before its update."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.last = y_pred

    def result(self) -> float:
        return 0.0

    def reset_state(self) -> None:
        self.last = None


def errors(outputs: Array, y: Array) -> tuple[Array, Array]:
    """(B,) largest |error| of each sequence, and its mean |error|, over all outputs and steps.

    y: numbers in the shape of outputs, or classes, of which outputs are the probabilities.
    """
    target = y if y.shape == outputs.shape else np.eye(outputs.shape[-1])[y]
    error = np.abs(outputs - target).reshape(len(y), -1)
    return error.max(1), error.mean(1)


def wrong(largest: Array, criterion: Criterion) -> int:
    return int((largest >= criterion.limit).sum())


def met(criterion: Criterion, largest: Array, mean: Array) -> bool:
    """Whether the last sequences, one element each, meet the criterion."""
    largest, mean = largest[-criterion.window :], mean[-criterion.window :]
    return (
        len(largest) == criterion.window
        and wrong(largest, criterion) < criterion.wrong
        and (criterion.mean is None or bool(mean.mean() < criterion.mean))
    )


def build(task: Task, seed: int) -> tuple[Model, Outputs]:
    s = task.settings
    x = h = Input((None,) if task.symbols else (None, 2))
    lengths = Input(())
    if task.symbols:
        normal = clstm.initializers.RandomNormal(stddev=1.0)
        h = Embedding(task.symbols, s.features, embeddings_initializer=normal)(h)
    lstm = LSTM(s.units, return_sequences=task.sequence)
    h = lstm(h, lengths=lengths)
    y = Dense(task.outputs, activation="softmax" if task.outputs > 1 else None)(h)
    u = np.random.default_rng([seed, 1]).uniform(1, s.times - 1, s.units)
    lstm.params["bias"][: 2 * s.units] = np.log(np.concatenate([1 / u, u]))  # gates i, f
    model, outputs = Model([x, lengths], y), Outputs()
    model.compile(
        clstm.optimizers.Adam(s.rate, beta_2=s.beta_2, global_clipnorm=1.0),
        loss="mse" if task.outputs == 1 else "sparse_categorical_crossentropy",
        metrics=[outputs],
    )
    return model, outputs


def test(task: Task, model: Model, criterion: Criterion, seed: int) -> dict:
    """Figures of 2,560 fresh sequences."""
    rng = np.random.default_rng([seed, 2])
    largest, losses = [], []
    for _ in range(0, TESTED, 128):
        x, lengths, y = task.draw(rng, 128)
        losses.append(model.test_on_batch([x, lengths], y)[0])
        largest.append(errors(model.predict_on_batch([x, lengths]), y)[0])
    return {"wrong": wrong(np.concatenate(largest), criterion), "of": TESTED,
            "loss": statistics.fmean(losses)}  # fmt: skip


def lags(T: int, growth: float) -> Generator[int, float, None]:
    """Lags of copy memory from 1 to T; sent the loss of a batch of each, a mean over steps.

    The next one is larger when the running mean of the loss, per digit to recall, is below 0.15.
    """
    lag = loss = 1.0
    while lag < T:
        loss = 0.98 * loss + 0.02 * (yield int(lag)) * (int(lag) + 2 * DIGITS) / DIGITS
        if loss < 0.15:
            lag, loss = max(lag * growth, lag + 1), 1.0
    while True:
        yield T


def train(task: Task, seed: int, budget: float) -> dict:
    """Learn until the last goal is met, or for `budget` seconds of processor time.

    Returns weights, and for each goal whether it was met, sequences and seconds until then (or
    until the end), the last window's loss, mean |error| and wrong sequences, and the test if it was
    met.
    """
    clstm.set_seed(seed)
    rng = np.random.default_rng([seed, 0])
    model, outputs = build(task, seed)
    s, draw = task.settings, task.draw
    window = max(criterion.window for criterion, _ in task.goals)
    largest = mean = np.empty(0)
    losses = deque(maxlen=-(-window // s.batch))
    T, updates = task.draw.keywords.get("T"), 0  # updates: with sequences of the task itself
    lag = s.growth and lags(T, s.growth)
    now = next(lag) if lag else T
    goals, seen, tested, begin = [], 0, 0.0, time.process_time()
    while len(goals) < len(task.goals):
        x, lengths, y = (partial(draw, T=now) if lag else draw)(rng, s.batch)
        if s.halving:
            model.optimizer.learning_rate = s.rate / (1 + updates / (s.halving / s.batch))
        losses.append(model.train_on_batch([x, lengths], y)[0])
        new_largest, new_mean = errors(outputs.last, y)
        largest = np.concatenate([largest, new_largest])[-window:]
        mean = np.concatenate([mean, new_mean])[-window:]
        seen += len(y)
        updates += now == T
        seconds = time.process_time() - begin - tested
        ends = seconds >= budget
        for criterion, _ in task.goals[len(goals) :]:
            solved = now == T and met(criterion, largest, mean)
            if not solved and not ends:
                break
            last = largest[-criterion.window :], mean[-criterion.window :]
            goals.append({
                "solved": solved, "sequences": seen, "seconds": round(seconds, 2),
                "last": {"wrong": wrong(last[0], criterion), "of": len(last[0]),
                         "mean_error": float(last[1].mean()), "loss": statistics.fmean(losses)},
            })  # fmt: skip
            start = time.process_time()
            if solved:
                goals[-1]["test"] = test(task, model, criterion, seed)
            tested += time.process_time() - start
        if lag and now != (now := lag.send(losses[-1])):  # errors of shorter lags do not count
            largest = mean = np.empty(0)
            losses.clear()
    weights = sum(array.size for array in model.get_weights())
    return {"seed": seed, "weights": weights, "goals": goals}


def spread(values: list[float]) -> str:
    """The median, and the smallest and largest where there are several."""
    text = number(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({number(min(values))}–{number(max(values))})"


def row(name: str, k: int, entry: dict) -> list[str]:
    task, runs = TASKS[name], entry["runs"]
    criterion, published = task.goals[k]
    title = task.title
    if criterion.wrong > 1:
        title += f", fewer than {criterion.wrong} of the last 2,000 wrong"
    goals = [run["goals"][k] for run in runs]
    good = [goal for goal in goals if goal["solved"]]
    shown = [format(value, ",") if value is not None else NONE for value in published]
    line = [title, *shown, f"{runs[0]['weights']:,}", f"{len(good)} of {len(goals)}"]
    if not good:
        best = min(goals, key=lambda goal: goal["last"]["wrong"] / goal["last"]["of"])["last"]
        reached = f"not solved: {best['wrong']:,} of the last {best['of']:,} wrong"
        return [*line, reached, NONE, number(statistics.median(g["seconds"] for g in goals))]
    tested = ", ".join(str(goal["test"]["wrong"]) for goal in good)
    return [*line, spread([goal["sequences"] for goal in good]), tested,
            number(statistics.median(goal["seconds"] for goal in good))]  # fmt: skip


def report(results: dict) -> str:
    """The table against the published figures, and the losses of copy memory."""
    head = ["task", "weights, 1997", "sequences, 1997", "wrong of 2,560, 1997", "weights, clstm",
            "seeds that solved it", "sequences, clstm", "wrong of 2,560, clstm",
            "seconds"]  # fmt: skip
    entries = {name: results["tasks"][name] for name in TASKS if name in results["tasks"]}
    lines = [table(head, [row(name, k, entry) for name, entry in entries.items()
                          for k in range(len(TASKS[name].goals))]), ""]  # fmt: skip
    for name in ("copy-100", "copy-1000"):
        runs = entries[name]["runs"] if name in entries else []
        goals = [run["goals"][0] for run in runs]
        losses = [goal["test" if goal["solved"] else "last"]["loss"] for goal in goals]
        if losses:
            T = int(name.split("-")[1])
            memoryless = DIGITS * np.log(8) / (T + 2 * DIGITS)
            bai = f", Bai et al.'s LSTM {BAI_LSTM_COPY}" if T == 1000 else ""
            lines.append(f"- Copy memory, T = {T}, cross-entropy (of the test, or of the last "
                         f"sequences of a run that was not solved): "
                         f"{', '.join(map(number, losses))}; without a memory "
                         f"{number(memoryless)}{bai}.")  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def record(path: Path, name: str, entry: dict) -> None:
    """Put a task's runs into the file, which is read anew: another process may have added some."""
    results = json.loads(path.read_text()) if path.exists() else {"format": 1, "tasks": {}}
    now = datetime.datetime.now(datetime.timezone.utc)
    results["tasks"][name] = {**entry, "date": now.isoformat(timespec="seconds"),
                              "machine": machine.describe(clstm.config.usable_cores())}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="TASK", default=list(TASKS),
                        help=f"of {', '.join(TASKS)}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="runs of each task (3)")
    parser.add_argument("--budget", type=float, default=3600,
                        help="seconds of processor time of a run (3600)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="(1: the tasks are small)")
    parser.add_argument("--name", default="local", help="of the results file (local)")
    parser.add_argument("--table", action="store_true", help="only print the results file's table")
    options = parser.parse_args(argv)
    path = RESULTS / f"{options.name}.json"
    if options.table:
        print(report(json.loads(path.read_text())), end="")
        return 0
    clstm.config.set_num_threads(options.threads)
    for name in options.only:
        entry = {"settings": TASKS[name].settings._asdict(), "threads": options.threads,
                 "clstm": clstm.__version__, "budget": options.budget, "runs": []}  # fmt: skip
        for seed in range(options.seeds):
            run = train(TASKS[name], seed, options.budget)
            for goal in run["goals"]:
                print(f"{name}, seed {seed}: {goal}", flush=True)
            entry["runs"].append(run)
            record(path, name, entry)
    print(report(json.loads(path.read_text())), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
