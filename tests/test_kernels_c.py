"""The C kernels give the same bits on every vector instruction set, natively and under qemu."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno"]
SOURCES = ["tests/c/kernels.c", "csrc/dispatch.c",
           *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("csrc/isa/*.c"))]  # fmt: skip


def hashes(compiler, folder, *runner):
    """{instruction set: the lines "kernel hash"} that the program prints."""
    program = folder / "kernels"
    subprocess.run([*compiler, *FLAGS, "-Icsrc", *SOURCES, "-o", program, "-lm"],
                   cwd=ROOT, check=True)  # fmt: skip
    output = subprocess.run([*runner, program], capture_output=True, text=True, check=True).stdout
    lines = [line.split(" ", 1) for line in output.splitlines()]
    return {isa: [rest for name, rest in lines if name == isa] for isa, _ in lines}


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler {compiler[0]}")
    return hashes(compiler, tmp_path_factory.mktemp("native"))


def test_every_instruction_set_gives_the_same_bits(native):
    if not native:
        pytest.skip("this CPU has no vector instruction set with native kernels")
    reference = next(iter(native.values()))
    assert len(reference) > 100
    for isa, lines in native.items():
        assert lines == reference, isa


def test_clang_gives_the_same_bits(native, tmp_path):
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    assert hashes(["clang"], tmp_path) == native


def test_neon_under_qemu_gives_the_same_bits(native, tmp_path):
    compiler = "aarch64-linux-gnu-gcc"
    for program in (compiler, "qemu-aarch64"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    neon = hashes([compiler, "-static"], tmp_path, "qemu-aarch64")
    assert list(neon) == ["neon"]
    assert len(neon["neon"]) > 100
    for isa, lines in native.items():
        assert lines == neon["neon"], isa
