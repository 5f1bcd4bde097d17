"""Measure this machine's float32 FMA peak: `python benchmarks/peak.py [--threads N]`.

A C program is compiled at run time. Each thread keeps independent chains of fused multiply-adds in
registers, as many as hide the latency, at the widest vectors that the CPU has.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

PROGRAM = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* 14 chains: latency 4 x 2 units a cycle = 8 at least; 14 + 2 operands fit in 16 registers. */
#define CHAINS 14
#define STEPS 4096
#define BODY(NAME, BYTES, TARGET)                                                              \
    typedef float NAME##_v __attribute__((vector_size(BYTES)));                                \
    TARGET static double NAME(long blocks, float seed) {                                       \
        NAME##_v a = {0}, b = {0}, acc[CHAINS], sum = {0};                                     \
        a += seed; b += 1.0f - seed;                                                           \
        _Pragma("GCC unroll 14") for (int k = 0; k < CHAINS; k++) acc[k] = b + (float)k;       \
        for (long n = 0; n < blocks * STEPS; n++) {                                            \
            _Pragma("GCC unroll 14") for (int k = 0; k < CHAINS; k++) acc[k] = acc[k] * a + b; \
        }                                                                                      \
        _Pragma("GCC unroll 14") for (int k = 0; k < CHAINS; k++) sum += acc[k];               \
        return (double)sum[0];                                                                 \
    }
#if defined(__x86_64__)
BODY(wide, 64, __attribute__((target("avx512f"))))
BODY(middle, 32, __attribute__((target("avx2,fma"))))
#endif
BODY(narrow, 16, )

static double (*run)(long, float) = narrow;
static long blocks = 1;
static pthread_barrier_t gate;
static volatile double sink;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static void *work(void *unused) {
    (void)unused;
    pthread_barrier_wait(&gate);
    sink = run(blocks, 0.5f);
    pthread_barrier_wait(&gate);
    return NULL;
}
int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1, lanes = 4;
    const char *name = "128-bit";
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) { run = wide; lanes = 16; name = "AVX-512"; }
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        run = middle; lanes = 8; name = "AVX2"; }
#endif
    double seconds = 0;
    while (seconds < 0.05) {
        double start = now();
        sink = run(blocks *= 2, 0.5f);
        seconds = now() - start;
    }
    double best = 0;
    for (int repeat = 0; repeat < 10; repeat++) {
        pthread_t ids[1024];
        pthread_barrier_init(&gate, NULL, threads + 1);
        for (int k = 0; k < threads; k++) pthread_create(&ids[k], NULL, work, NULL);
        double start = now();
        pthread_barrier_wait(&gate);
        pthread_barrier_wait(&gate);
        seconds = now() - start;
        for (int k = 0; k < threads; k++) pthread_join(ids[k], NULL);
        double rate = 2e-9 * lanes * CHAINS * STEPS * (double)blocks * threads / seconds;
        if (rate > best) best = rate;
    }
    printf("{\"vectors\": \"%s\", \"gflops\": %.1f}\n", name, best);
    return 0;
}
"""


def compiler() -> list[str] | None:
    """The system's C compiler: $CC, else the first that is there."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    return next(([name] for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def measure_peak(threads: int) -> dict | None:
    """GFLOP/s of one thread and of `threads`, the best of ten runs; None without a compiler."""
    command = compiler()
    if command is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "peak.c"), Path(folder, "peak")
        source.write_text(PROGRAM)
        subprocess.run([*command, "-O2", "-ffp-contract=fast", "-pthread", str(source), "-o",
                        str(program)], check=True)  # fmt: skip
        one, all_ = (json.loads(subprocess.run([str(program), str(n)], check=True, text=True,
                                               stdout=subprocess.PIPE).stdout)
                     for n in (1, threads))  # fmt: skip
    return {"vectors": all_["vectors"], "threads": threads, "gflops_one_thread": one["gflops"],
            "gflops": max(one["gflops"], all_["gflops"])}  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores)
    print(json.dumps(measure_peak(parser.parse_args().threads), indent=1))
