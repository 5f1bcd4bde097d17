"""What to do about missing values, on weekly CO2 with its own gaps and further ones.

    python benchmarks/missing.py [--seeds 5] [--name NAME]

Of the known weeks 10%, 30% or 50% are hidden, one by one at random or in blocks of 4 to 26 weeks.
Each way is fitted on the weeks before 1990, as they are seen, and fills all; what it makes of the
hidden weeks is compared with what was measured there: of all, and of those from 1990 on, which no
way was fitted on. Beside it: a forecast of the next 13 weeks by an LSTM that reads 52, as each way
fills them by what was known then alone, or the steps that are left when missing ones are dropped,
or what `Keep` and `InputDecay` make of them; its labels are the weeks that are seen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import machine
import numpy as np
from tables import number, table

import clstm
from clstm import LSTM, Dense, InputDecay, Sequential
from clstm.data import missing, windows
from clstm.datasets import load_co2
from clstm.losses import IgnoreMissing

SHARES, KINDS, SEASON, SPLIT = (0.1, 0.3, 0.5), ("random", "blocks"), 52, "1990-01-01"
PAST, HORIZON, EPOCHS = 52, 13, 30
RESULTS = Path(__file__).resolve().parent / "results" / "missing"
PLOTS = Path(__file__).resolve().parent / "plots"
Array = np.ndarray


class LeastSquares:
    """A model of another library, as far as `Predict` knows."""

    def fit(self, x: Array, y: Array) -> None:
        self.w = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]

    def predict(self, x: Array) -> Array:
        return np.column_stack([x, np.ones(len(x))]) @ self.w


def ways(seed: int) -> dict[str, missing.Fill]:
    """Those that fill, by name."""
    return {
        "mean": missing.Fill(), "forward": missing.Fill("forward"),
        "linear": missing.Interpolate(), "spline": missing.Interpolate("spline"),
        "seasonal": missing.Interpolate("seasonal", season=SEASON),
        "predicted by least squares": missing.Predict(LeastSquares(), (-SEASON, -1, 1, SEASON)),
        "predicted by an LSTM": missing.LSTMImputer(length=3 * SEASON, seed=seed),
    }  # fmt: skip


def series() -> tuple[Array, Array]:
    train, test = load_co2()
    return (np.concatenate([train.dates, test.dates]),
            np.concatenate([train.values, test.values]).astype(np.float64))  # fmt: skip


def hide(values: Array, share: float, kind: str, rng: np.random.Generator) -> Array:
    """Which of the known values are hidden."""
    known = np.flatnonzero(~np.isnan(values))
    hidden = np.zeros(len(values), bool)
    if kind == "random":
        hidden[rng.choice(known, round(share * len(known)), replace=False)] = True
        return hidden
    while hidden[known].mean() < share:
        begin = rng.integers(0, len(values))
        hidden[begin : begin + rng.integers(4, 27)] = True
    hidden[np.isnan(values)] = False
    return hidden


def pasts(way: missing.Fill, seen: Array, begins: Array) -> Array:
    """(N, PAST) before each begin, filled by what was known then alone: the five years before."""
    cut = [seen[max(0, b - 5 * SEASON) : b] for b in begins]
    return np.stack([part[-PAST:] for part in way.transform(cut)])


def forecast_error(seen: Array, way: missing.Fill | None, measured: Array, split: int, seed: int
                   ) -> float:  # fmt: skip
    """Mean |error| of forecasts from `split` on by an LSTM trained before it.

    way: what fills each window; None: what `Keep` makes of it. Windows are relative to their last
    value; labels are the values that are seen, those of the test the measured ones.
    """
    begins = np.arange(2 * PAST, len(seen) - HORIZON + 1)
    base = pasts(missing.Fill("forward").fit(seen[:split]) if way is None else way, seen, begins)
    last = base[:, -1:]
    train, test = begins <= split - HORIZON, begins >= split
    scale = np.std((base - last)[train])
    x = (base - last)[..., None] / scale
    if way is None:  # beside the values, whether they are seen, and since when not
        kept = missing.Keep().fit(seen[:split]).transform(seen)
        others = np.stack([kept[b - PAST : b, 1:] for b in begins])
        x = np.concatenate([x, others * [1, 1 / SEASON]], axis=2)
    y = (np.stack([seen[b : b + HORIZON] for b in begins]) - last) / scale
    clstm.set_seed(seed)
    first = [InputDecay(input_shape=(PAST, 3))] if way is None else []
    model = Sequential([*first, LSTM(32, **({} if first else {"input_shape": (PAST, 1)})),
                        Dense(HORIZON)])  # fmt: skip
    model.compile(clstm.optimizers.Adam(3e-3), IgnoreMissing("mse"))
    model.fit(x[train], y[train], batch_size=64, epochs=EPOCHS, verbose=0)
    found = model.predict(x[test]) * scale + last[test]
    actual = np.stack([measured[b : b + HORIZON] for b in begins[test]])
    return float(np.nanmean(np.abs(found - actual)))


def dropped_error(seen: Array, measured: Array, split: int, seed: int) -> float:
    """The same of an LSTM that was trained on the steps that are left, as if they were weeks."""
    filled = missing.Fill("forward").fit(seen[:split]).transform(seen)
    left = seen[~np.isnan(seen)]
    before = int((~np.isnan(seen[:split])).sum())
    w = windows(left[:before], PAST, HORIZON)
    last = left[w.begins - 1][:, None]
    scale = np.std(w.x - last[:, None])
    clstm.set_seed(seed)
    model = Sequential([LSTM(32, input_shape=(PAST, 1)), Dense(HORIZON)])
    model.compile(clstm.optimizers.Adam(3e-3), "mse")
    model.fit((w.x - last[:, None]) / scale, (w.y[..., 0] - last) / scale, batch_size=64,
              epochs=EPOCHS, verbose=0)  # fmt: skip
    known = np.flatnonzero(~np.isnan(seen))
    begins = np.arange(split, len(seen) - HORIZON + 1)
    places = np.searchsorted(known, begins)  # steps that are left before each forecast
    x = np.stack([left[p - PAST : p] for p in places])[..., None]
    now = filled[begins - 1][:, None]
    found = model.predict((x - x[:, -1:]) / scale) * scale + now
    actual = np.stack([measured[b : b + HORIZON] for b in begins])
    return float(np.nanmean(np.abs(found - actual)))


def run(seed: int, share: float, kind: str) -> dict[str, dict[str, float]]:
    dates, measured = series()
    split = int(np.searchsorted(dates, np.datetime64(SPLIT)))
    rng = np.random.default_rng([seed, round(100 * share), KINDS.index(kind)])
    hidden = hide(measured, share, kind, rng)
    seen = np.where(hidden, np.nan, measured)
    later = hidden & (np.arange(len(seen)) >= split)
    found: dict[str, dict[str, float]] = {}
    for name, way in ways(seed).items():
        began = time.perf_counter()
        made = way.fit(seen[:split]).transform(seen)
        seconds = time.perf_counter() - began
        error = np.abs(made - measured)
        found[name] = {"mae": float(error[hidden].mean()), "mae_later": float(error[later].mean()),
                       "seconds": seconds,
                       "forecast": forecast_error(seen, way, measured, split, seed)}  # fmt: skip
    found["dropped"] = {"forecast": dropped_error(seen, measured, split, seed)}
    found["kept, with decay"] = {"forecast": forecast_error(seen, None, measured, split, seed)}
    return found


def report(results: dict) -> str:
    """A table for what was hidden, and one for the forecasts: medians of the seeds, ppm."""
    cases = [(kind, share) for kind in KINDS for share in SHARES]
    head = ["", *(f"{kind}, {share:.0%}" for kind, share in cases)]
    texts = []
    for key, title in (("mae", "Mean |error| of the hidden weeks"),
                       ("mae_later", f"The same of those from {SPLIT[:4]} on"),
                       ("forecast", f"Mean |error| of forecasts of {HORIZON} weeks")):
        names = [n for n, f in results["runs"][0]["found"].items() if key in f]
        lines = []
        for name in names:
            line = [name]
            for kind, share in cases:
                values = [r["found"][name][key] for r in results["runs"]
                          if (r["kind"], r["share"]) == (kind, share)]  # fmt: skip
                line.append(number(float(np.median(values))))
            lines.append(line)
        texts.append(f"{title}, ppm:\n\n{table(head, lines)}")
    return "\n\n".join(texts) + "\n"


def draw(results: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="constrained")
    names = [n for n, f in results["runs"][0]["found"].items() if "mae" in f and n != "mean"]
    for ax, kind in zip(axes, KINDS, strict=True):
        for name in names:
            values = np.array([[r["found"][name]["mae"] for r in results["runs"]
                                if (r["kind"], r["share"]) == (kind, share)] for share in SHARES])
            ax.plot([100 * s for s in SHARES], np.median(values, axis=1), "o-", label=name)
            ax.fill_between([100 * s for s in SHARES], values.min(axis=1), values.max(axis=1),
                            alpha=0.15)  # fmt: skip
        ax.set(title="weeks at random" if kind == "random" else "blocks of 4 to 26 weeks",
               xlabel="hidden, % of the weeks", yscale="log", xticks=[100 * s for s in SHARES])
    axes[0].set_ylabel("mean |error| of the hidden weeks, ppm")
    axes[0].set_yticks([0.25, 0.5, 1, 2], ["0.25", "0.5", "1", "2"])
    axes[0].minorticks_off()
    axes[0].legend(fontsize=9, loc="upper left")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="only print and draw NAME's results")
    parser.add_argument("--name", help="of a file in benchmarks/results/missing/, and of a picture")
    args = parser.parse_args()
    if args.table:
        results = json.loads((RESULTS / f"{args.name}.json").read_text())
        draw(results, PLOTS / f"{args.name}-missing.png")
        print(report(results), end="")
        return
    results: dict = {"machine": machine.describe(clstm.config.get_num_threads()),
                     "date": time.strftime("%Y-%m-%d"), "clstm": clstm.__version__, "runs": []}
    for seed in range(1, args.seeds + 1):
        for kind in KINDS:
            for share in SHARES:
                found = run(seed, share, kind)
                results["runs"].append({"seed": seed, "kind": kind, "share": share, "found": found})
                print(f"seed {seed}, {kind}, {share:.0%}: " + ", ".join(
                    f"{n} {f.get('mae', np.nan):.3f} {f['forecast']:.3f}"
                    for n, f in found.items()), flush=True)  # fmt: skip
    print(report(results))
    if args.name:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{args.name}.json").write_text(json.dumps(results, indent=1) + "\n")
        draw(results, PLOTS / f"{args.name}-missing.png")


if __name__ == "__main__":
    main()
