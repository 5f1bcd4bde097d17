"""What every worker does: answer JSON lines, time what its library built, and sleep in between.

A worker file holds one library in one process. It imports this module first, then its library,
and hands `serve` a function `build(case) -> Job`. Requests come on stdin, one JSON object a line;
one line answers each. Whatever the library prints goes to stderr.

    prepare  key, case, save   build, call once, save the results as .npz, warm up until it settles
    check    case, save        build, call once, save the results, forget it
    time     key, seconds      call over and over for that long: the median time of a call
    memory   case              extra resident memory of two calls, in a process that did it warm
    drop     key               forget this job, or without a key every job
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

THREADS = int(os.environ.get("BENCH_THREADS", "1"))
SETTLED = 0.05  # two blocks in a row this close: warm

_answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


class Job(NamedTuple):
    call: Callable[[], Any]  # the work that is timed
    outputs: Callable[[Any], dict[str, np.ndarray]]  # of what `call` returned, in clstm's layout
    check: Callable[[], Any] | None = None  # instead of `call` where that has no fixed result


def _answer(**fields: Any) -> None:
    _answers.write(json.dumps(fields) + "\n")
    _answers.flush()


def _missing(kind: type, error: BaseException, trace: Any) -> None:
    _answer(error=f"{kind.__name__}: {error}", missing=issubclass(kind, ImportError))
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _missing  # an import of the worker that fails is the answer to its start


def timed(call: Callable[[], Any], seconds: float) -> list[float]:
    """The time of each call, for about `seconds`, one call at least; freeing its result counts."""
    times = []
    end = time.perf_counter() + seconds
    gc.disable()
    try:
        while True:
            start = time.perf_counter()
            call()
            stop = time.perf_counter()
            times.append(stop - start)
            if stop >= end:
                return times
    finally:
        gc.enable()


def warm_up(call: Callable[[], Any], block: float, limit: float) -> float:
    """Run blocks until two in a row agree, for at most about `limit` seconds; the last median."""
    end = time.perf_counter() + limit
    last = statistics.median(timed(call, block))
    while time.perf_counter() < end:
        median = statistics.median(timed(call, block))
        if abs(median - last) <= SETTLED * last:
            return median
        last = median
    return last


def _status(field: str) -> int:
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def extra_memory(call: Callable[[], Any]) -> int:
    """Peak resident bytes over two calls, less those resident before them."""
    gc.collect()
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # the peak starts again from here
    before = _status("VmRSS")
    for _ in range(2):
        call()
    return _status("VmHWM") - before


def serve(build: Callable[[dict], Job | None], versions: dict[str, str]) -> None:
    """Answer requests until stdin ends. `build` gives None for a case it cannot do."""
    jobs: dict[str, Job] = {}

    def saved(case: dict, save: str) -> Job | None:
        job = build(case)
        if job is not None:
            np.savez(save, **job.outputs((job.check or job.call)()))
        return job

    def prepare(key: str, case: dict, save: str, block: float, limit: float) -> dict:
        job = saved(case, save)
        if job is None:
            return {"unsupported": True}
        jobs[key] = job
        return {"seconds": warm_up(job.call, block, limit)}

    def check(case: dict, save: str) -> dict:
        return {"unsupported": saved(case, save) is None}

    def time_(key: str, seconds: float) -> dict:
        times = timed(jobs[key].call, seconds)
        return {"seconds": statistics.median(times), "calls": len(times)}

    def memory(case: dict) -> dict:
        small = build({**case, "shape": [2, 3, 8, 8]})
        if small is None:
            return {"unsupported": True}
        for _ in range(3):
            small.call()  # what the library loads when it is first used is not the step's
        return {"bytes": extra_memory(build(case).call)}

    def drop(key: str | None = None) -> dict:
        for old in list(jobs) if key is None else [key]:
            del jobs[old]
        gc.collect()
        return {}

    do = {"prepare": prepare, "check": check, "time": time_, "memory": memory, "drop": drop}
    _answer(versions={"numpy": np.__version__, **versions}, threads=THREADS)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            _answer(**do[request.pop("do")](**request))
        except Exception as error:
            _answer(error=f"{type(error).__name__}: {error}"[:500])
