"""Markdown from a results file. Every figure comes from the JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import figures

MODES = {"forward": "forward", "train": "forward + backward"}
NONE = "–"


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits."""
    if value is None:
        return NONE
    if value >= 100:
        return f"{value:,.0f}{unit}"
    digits = max(0, 2 - (len(str(int(value))) - 1)) if value >= 1 else 3
    return f"{value:.{digits}f}{unit}" if value >= 0.1 else f"{value:#.2g}{unit}"


def times(value: float | None) -> str:
    return number(value, "×")


def milliseconds(seconds: float | None) -> str:
    return number(None if seconds is None else 1e3 * seconds)


def percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.0f}%"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, the others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def layers(data: dict, source: str, mode: str) -> list[dict]:
    return [r for r in data["results"]
            if r["section"] == "layer" and r["mode"] == mode and r["source"] == source]  # fmt: skip


def section(data: dict, name: str) -> dict | None:
    return next((r for r in data["results"] if r["section"] == name), None)


def where(result: dict) -> str:
    return ", ".join(map(str, result["shape"]))


def _peak(data: dict) -> float | None:
    return (data.get("peak") or {}).get("gflops")


def versions(data: dict) -> str:
    """"name version" of every library, each once."""
    found: dict[str, str] = {}
    for parts in data["versions"].values():
        found |= {name: version.split("-")[0].split("+")[0] for name, version in parts.items()
                  if name not in ("isa", "jaxlib")}  # fmt: skip
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def heading(data: dict) -> str:
    m, peak = data["machine"], data.get("peak")
    bound = "no FMA peak measured"
    if peak:
        bound = f"float32 FMA peak {number(_peak(data))} GFLOP/s ({peak['vectors']})"
    cpu = f"{m['cpu']} (family/model {m['cpu_family_model']}, {m['architecture']})"
    return f"{cpu}, {data['threads']} threads, {bound}; {data['date'][:10]}. {versions(data)}."


def compact(data: dict, source: str, mode: str) -> str:
    """clstm, the fastest rival, and the ratios, a row for each shape; geometric means below."""
    results = layers(data, source, mode)
    rows = []
    for r in results:
        mine, rival = figures.ours(r), figures.fastest_rival(r)
        rows.append([
            where(r), milliseconds(figures.median(r, mine) if mine else None),
            f"{milliseconds(figures.median(r, rival))} {rival}" if rival else NONE,
            times(figures.against_fastest(r)), times(figures.against_baseline(r)),
            percent(figures.peak_fraction(r, mine, _peak(data)) if mine else None)])  # fmt: skip
    means = [times(figures.geometric_mean(map(f, results)))
             for f in (figures.against_fastest, figures.against_baseline)]  # fmt: skip
    rows.append(["geometric mean", "", "", *means, ""])
    head = ["B, T, I, H", f"clstm, ms {MODES[mode]}", "fastest rival, ms", "faster than it",
            "faster than NumPy", "of FMA peak"]  # fmt: skip
    return table(head, rows)


def full(data: dict, source: str, mode: str) -> str:
    """Milliseconds of every library."""
    results = layers(data, source, mode)
    labels = list(dict.fromkeys(label for r in results for label in r["libraries"]))
    rows = [[where(r), *(milliseconds(figures.median(r, label)) for label in labels)]
            for r in results]  # fmt: skip
    return table([f"ms {MODES[mode]}", *labels], rows)


def _ragged(data: dict) -> str | None:
    r = section(data, "ragged")
    mine = figures.ours(r) if r else None
    if not mine:
        return None
    dense = figures.ratio(r, mine, f"{mine}/dense")
    token = None if dense is None else dense * r["tokens"] / r["real_tokens"]
    return (f"Ragged batch ({where(r)}, lengths uniform in {r['shortest']}..{r['shape'][1]}), "
            f"training step: clstm {milliseconds(figures.median(r, mine))} ms, PyTorch packed "
            f"{milliseconds(figures.median(r, 'torch'))} ms "
            f"({times(figures.ratio(r, 'torch', mine))}); PyTorch padded, which also computes the "
            f"padding, {milliseconds(figures.median(r, 'torch/padded'))} ms; time per real token "
            f"{number(token)} of clstm's dense case.")  # fmt: skip


def _stream(data: dict) -> str | None:
    r = section(data, "stream")
    mine = figures.ours(r) if r else None
    if not mine:
        return None
    micro = lambda label: number(  # noqa: E731
        None if figures.median(r, label) is None else 1e6 * figures.median(r, label))
    shown = [*figures.rivals(r), *(["onnxruntime/bound"] if "onnxruntime/bound" in r["libraries"]
                                   else [])]  # fmt: skip
    others = ", ".join(f"{label} {micro(label)}" for label in shown)
    return (f"One step of one sequence ({where(r)}), microseconds a call from Python: clstm "
            f"{micro(mine)} through `pack`'s handle, {micro(f'{mine}/arrays')} through raw arrays; "
            f"{others}.")  # fmt: skip


def _fit(data: dict) -> str | None:
    r = section(data, "fit")
    if not r:
        return None
    rates = {label: r["sequences"] / seconds for label in r["libraries"]
             if (seconds := figures.median(r, label))}  # fmt: skip
    text = ", ".join(f"{k} {v:,.0f}" for k, v in sorted(rates.items(), key=lambda e: -e[1]))
    mine = figures.ours(r)
    best = min((k for k in figures.rivals(r) if k.startswith("keras")),
               key=lambda k: figures.median(r, k), default=None)  # fmt: skip
    compared = "; ".join(f"{times(figures.ratio(r, rival, mine))} {name}" for name, rival in (
        (f"the best Keras backend ({best})", best), ("a PyTorch loop", "torch"))
        if mine and rival and figures.median(r, rival))  # fmt: skip
    return f"`fit` of the program above, sequences a second: {text}" + (
        f". clstm is {compared}." if compared else ".")  # fmt: skip


def _extremes(data: dict) -> list[tuple[str, dict, Callable[[dict, str], float | None]]]:
    """Name, result and figure of a library: subnormal input's, then every odd hidden size's."""
    found = []
    for r in data["results"]:
        if r["section"] == "denormals":
            found.append((f"time, input to 1e-40 over ordinary, {MODES[r['mode']]}", r,
                          figures.slowdown))  # fmt: skip
        if r["section"] == "odd":
            even = str(r["shape"][3])
            found += [(f"speed per FLOP, H = {size} over {even}, {MODES[r['mode']]}", r,
                       partial(figures.speed_per_flop, size=size))
                      for size in r["flops_at"] if size != even]  # fmt: skip
    return found


def extremes(data: dict) -> str:
    """What subnormals and odd hidden sizes cost each library."""
    rows = _extremes(data)
    labels = list(dict.fromkeys(label for _, r, _ in rows for label in r["libraries"]
                                if "/" not in label))  # fmt: skip
    lines = [[name, *(times(figure(r, label)) for label in labels)] for name, r, figure in rows]
    return table(["subnormals and odd sizes", *labels], lines) if rows else ""


def _memory(data: dict) -> str | None:
    r = data.get("memory")
    sizes = {k: v["bytes"] for k, v in r["libraries"].items() if "bytes" in v} if r else {}
    if not sizes:
        return None
    text = ", ".join(f"{k} {number(v / 2**20)}" for k, v in sorted(sizes.items(),
                                                                   key=lambda e: e[1]))  # fmt: skip
    return f"Peak extra memory of a training step ({where(r)}), MiB: {text}."


def _import(data: dict) -> str | None:
    r = data.get("import")
    return r and (f"`import clstm` {number(r['seconds']['clstm'])} s (`import numpy` alone "
                  f"{number(r['seconds']['numpy'])} s); the package without its dependencies "
                  f"{number(r['installed_bytes'] / 2**20)} MiB.")  # fmt: skip


def notes(data: dict) -> str:
    lines = [part(data) for part in (_ragged, _stream, _fit, _memory, _import)]
    return "\n".join(f"- {line}" for line in lines if line)


def left_out(data: dict) -> str:
    """Libraries that were missing, wrong or failing, and shapes that were skipped."""
    lines = [f"{label}: {reason}" for label, reason in data["missing"].items()]
    for r in data["results"]:
        for label, entry in r["libraries"].items():
            why = entry.get("error") or entry.get("left_out")
            if not why and not entry["correct"]:
                why = f"differs from the reference by {entry['max_abs_diff']:.2g}"
            if why:
                lines.append(f"{label}, {r['section']} {r['mode']} ({where(r)}): {why}")
    lines += [f"({where(s)}) {s['mode']}: {s['reason']}" for s in data["skipped"]]
    return "Left out:\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def readme(data: dict) -> str:
    """The short form: one table for each mode, and the rest in sentences."""
    parts = [f"Measured on {heading(data)}"]
    for mode in (mode for mode in MODES if layers(data, "clstm", mode)):
        parts.append(compact(data, "clstm", mode))
        picture = f"benchmarks/plots/{data['name']}-{mode}.png"
        parts.append(f"![milliseconds of each library, {mode}]({picture})")
    return "\n\n".join(filter(None, [*parts, extremes(data), notes(data)])).strip() + "\n"


def everything(data: dict) -> str:
    """The long form: every library at every shape."""
    parts = [f"### {data['name']}", heading(data)]
    for source in ("clstm", "DeepBench"):
        if any(layers(data, source, mode) for mode in MODES):
            parts.append(f"#### Shapes: {source}")
        for mode in MODES:
            if layers(data, source, mode):
                parts += [compact(data, source, mode), full(data, source, mode)]
    return "\n\n".join(filter(None, [*parts, extremes(data), notes(data), left_out(data)])) + "\n"
