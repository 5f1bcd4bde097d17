"""Measure clstm and its rivals on this machine and write benchmarks/results/NAME.json.

    python benchmarks/compare.py --rivals-python ENV/bin/python --name NAME
    python benchmarks/compare.py --quick --only clstm-native clstm-blas

Read benchmarks/README.md for what is measured and how.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import figures
import machine
import sections
import shapes
from measure import FEWEST_ROUNDS, Settings
from peak import measure_peak
from pool import CANNOT, LIBRARIES, Pool

from clstm import config

RESULTS = Path(__file__).parent / "results"
SECTIONS = ("layer", "deepbench", "ragged", "stream", "fit", "denormals", "odd", "memory",
            "import")  # fmt: skip
MEMORY_SHARE = 0.7  # of what is available


def arguments(argv: list[str] | None) -> argparse.Namespace:
    labels = [*(f"clstm-{name}" for name in config.BACKENDS), *LIBRARIES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="latest", help="results/NAME.json is written")
    parser.add_argument("--output", type=Path, help="another file instead")
    parser.add_argument("--rivals-python", default=sys.executable, metavar="PATH",
                        help="interpreter that has the rivals (default: this one)")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=labels, metavar="LIBRARY",
                        help=f"of {', '.join(labels)}")  # fmt: skip
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, metavar="SECTION",
                        help=f"of {', '.join(SECTIONS)}")  # fmt: skip
    parser.add_argument("--shapes", nargs="+", type=shapes.parse, metavar="BxTxIxH",
                        help="these instead of the list; only the section layer")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few small shapes, few rounds")
    parser.add_argument("--threads", type=int, default=config.usable_cores())
    for name, default in Settings._field_defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error("--threads: expected 1 or more")
    options.libraries = options.only or labels
    if options.quick:
        options.rounds, options.block, options.warm = 3, 0.01, 0.05
    if options.sections is None:
        options.sections = ("layer",) if options.quick or options.shapes else SECTIONS
    return options


def problems(options: argparse.Namespace) -> list[shapes.Problem]:
    chosen = []
    if "layer" in options.sections:
        default = shapes.QUICK if options.quick else shapes.SHAPES
        chosen += shapes.standard(options.shapes or default)
    if "deepbench" in options.sections:
        chosen += shapes.deepbench()
    return chosen


def use_cores(threads: int) -> None:
    """Keep this process and its workers on as many cores as each library has threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def summary(result: dict) -> str:
    """One line for the terminal."""
    def text(value: float | None, unit: str) -> str:
        return "-" if value is None else f"{value:.2f}{unit}"

    def shown(entry: dict) -> str:
        if "median" in entry:
            return f"{1e3 * entry['median']:.4g}"
        return "left out" if "left_out" in entry else "FAILED"

    times = ", ".join(f"{label} {shown(entry)}" for label, entry in result["libraries"].items())
    where = "x".join(map(str, result["shape"]))
    return (f"{result['section']:<9} {result['mode']:<7} {where:<16} "
            f"{text(figures.against_fastest(result), 'x')} the fastest rival, "
            f"{text(figures.against_baseline(result), 'x')} NumPy; ms: {times}")  # fmt: skip


class Report:
    """The JSON, written anew after every result."""

    def __init__(self, path: Path, **fields: object):
        self.path = path
        self.data = {"format": 1, **fields, "skipped": [], "results": []}

    def add(self, result: dict) -> None:
        self.data["results"].append(result)
        print(summary(result), flush=True)
        self.write()

    def better_peak(self, peak: dict | None) -> None:
        """The bound is the best that was seen: a busy moment may have cut the first try."""
        if peak and peak["gflops"] > self.data["peak"]["gflops"]:
            self.data["peak"] = peak

    def write(self) -> None:
        gflops = (self.data["peak"] or {}).get("gflops")
        for result in self.data["results"]:
            for label, entry in result["libraries"].items():
                fraction = figures.peak_fraction(result, label, gflops)
                if fraction is not None:
                    entry["peak_fraction"] = round(fraction, 4)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.data, indent=1) + "\n")


def run(pool: Pool, report: Report, options: argparse.Namespace, settings: Settings) -> None:
    gflops = (report.data["peak"] or {}).get("gflops")
    memory = int(MEMORY_SHARE * machine.available_memory())
    for problem in problems(options):
        for mode in problem.modes:
            libraries = len(set(pool.measured) - set(CANNOT[mode]))
            reason = shapes.too_much(problem.shape, mode, libraries, FEWEST_ROUNDS, memory, gflops,
                                     settings.budget)  # fmt: skip
            if reason:
                report.data["skipped"].append(
                    {"shape": list(problem.shape), "mode": mode, "reason": reason})  # fmt: skip
                print("skipped", mode, problem.shape, reason, flush=True)
                continue
            report.add({**sections.layer(pool, problem.shape, mode, settings),
                        "source": problem.source})  # fmt: skip
    more: dict[str, Callable[[Pool, Settings], dict]] = {
        "ragged": sections.ragged, "stream": sections.stream, "fit": sections.fit}  # fmt: skip
    for name, section in more.items():
        if name in options.sections:
            report.add(section(pool, settings))
    for name, both in (("denormals", sections.denormals), ("odd", sections.odd)):
        if name in options.sections:
            for mode in ("forward", "train"):
                report.add(both(pool, mode, settings))
    if "memory" in options.sections:
        report.data["memory"] = sections.memory(pool)
    if "import" in options.sections:
        report.data["import"] = sections.imports()


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    settings = Settings(**{name: getattr(options, name) for name in Settings._fields})
    use_cores(options.threads)
    peak = measure_peak(options.threads)
    with Pool(options.libraries, options.rivals_python, options.threads) as pool:
        for label, reason in pool.missing.items():
            print(f"missing: {label} ({reason})", flush=True)
        if figures.BASELINE not in pool.workers:
            print("clstm itself does not start", file=sys.stderr)
            return 1
        report = Report(
            options.output or RESULTS / f"{options.name}.json",
            name=options.name,
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            machine=machine.describe(config.usable_cores()),
            threads=options.threads,
            settings=settings._asdict(),
            peak=peak,
            versions=pool.versions(),
            missing=pool.missing,
        )
        run(pool, report, options, settings)
        report.better_peak(measure_peak(options.threads))
        report.write()
    print("written:", report.path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
