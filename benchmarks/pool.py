"""Worker processes: one library each, started once, asleep unless asked."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import BASELINE

WORKERS = Path(__file__).parent / "workers"
LIBRARIES = {  # label: the worker's file and arguments
    "torch": ("torch_worker.py",),
    "onnxruntime": ("onnxruntime_worker.py",),
    "openvino": ("openvino_worker.py",),
    "jax": ("jax_worker.py",),
    "keras-jax": ("keras_worker.py", "jax"),
    "keras-tensorflow": ("keras_worker.py", "tensorflow"),
    "keras-torch": ("keras_worker.py", "torch"),
}
# Libraries that have no such case of a layer: they do not count in what a shape needs.
CANNOT = {"forward": ("keras-torch",), "train": ("keras-torch", "onnxruntime", "openvino")}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                    "CLSTM_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BENCH_THREADS")  # fmt: skip
START, ANSWER = 180, 1200  # seconds


class WorkerError(RuntimeError):
    """The worker said what went wrong, or died."""


class MissingLibrary(WorkerError):
    """The worker's interpreter has no such library."""


class Worker:
    """One process. `ask` sends a request and waits for the answer."""

    def __init__(self, label: str, python: str, threads: int):
        file, *arguments = LIBRARIES.get(label) or ("clstm_worker.py", label.split("-")[1])
        self.label = label
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)),
                       "TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu",
                       "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}  # fmt: skip
        try:
            self._process = subprocess.Popen(
                [python, str(WORKERS / file), *arguments], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=self._log, env=environment, text=True)  # fmt: skip
        except OSError as error:
            self._log.close()
            raise MissingLibrary(f"its interpreter does not start: {error.strerror}") from error
        try:
            hello = self._answer(START)
        except WorkerError:
            self.close()
            raise
        self.versions = hello["versions"]

    def _answer(self, seconds: float) -> dict[str, Any]:
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            what = "died" if ready else f"gave no answer in {seconds:.0f} s"
            self._log.seek(0)
            last = self._log.read().strip().splitlines()[-1:]
            raise WorkerError(" ".join([f"{self.label} {what}", *last]))
        answer = json.loads(line)
        if "error" in answer:
            raise (MissingLibrary if answer.get("missing") else WorkerError)(answer["error"])
        return answer

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerError(f"{self.label} died") from error
        return self._answer(ANSWER)

    def close(self) -> None:
        if self._process.stdin.closed:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


class Pool:
    """The workers of one run, and the names of the libraries that are missing.

    The baseline always has a worker, since it checks the others; it is timed only if it is in
    `labels`.
    """

    def __init__(self, labels: list[str], rivals_python: str, threads: int):
        self.threads = threads
        self._asked = labels
        self.missing: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        started = [*dict.fromkeys([*labels, BASELINE])]
        self._python = {label: rivals_python if label in LIBRARIES else sys.executable
                        for label in started}  # fmt: skip
        try:
            for label in started:
                try:
                    self.workers[label] = self.start(label)
                except WorkerError as error:
                    self.missing[label] = str(error)
        except BaseException:
            self.close()
            raise

    @property
    def measured(self) -> list[str]:
        """The libraries that are there and were asked for."""
        return [label for label in self.workers if label in self._asked]

    def start(self, label: str) -> Worker:
        """A process of its own, beside those of the pool."""
        return Worker(label, self._python[label], self.threads)

    def discard(self, label: str) -> None:
        """A worker that died or hangs is replaced; a library may fail at one case only."""
        self.workers.pop(label).close()
        try:
            self.workers[label] = self.start(label)
        except WorkerError as error:
            self.missing[label] = str(error)

    def versions(self) -> dict[str, dict[str, str]]:
        return {label: worker.versions for label, worker in self.workers.items()}

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
