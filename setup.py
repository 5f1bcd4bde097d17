"""The compiled part: C kernels (csrc/) and the Cython modules above them (clstm/_kernels/).

CLSTM_NO_OPENMP=1 builds without OpenMP, through which threadpoolctl's limits are read;
CLSTM_DEBUG=1 checks every index of a memoryview.
"""

import os
import subprocess
import sys
import tempfile
from glob import glob
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("CLSTM_DEBUG") == "1"
# -ffp-contract=off: the compiler adds no FMA of its own, so results do not depend on it
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
FLAGS += ["-g0", "-Wall", "-Wextra"]
HEADERS = [*glob("csrc/**/*.h", recursive=True), *glob("csrc/**/*.inc", recursive=True)]
HEADERS += glob("clstm/_kernels/*.h")


def openmp_flags(compiler):
    """The first of the usual OpenMP flags with which a program compiles and links, else none."""
    if os.environ.get("CLSTM_NO_OPENMP") == "1":
        return []
    program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(program)
        for flag in ("-fopenmp", "-fopenmp=libgomp"):
            command = [*compiler, flag, str(source), "-o", str(Path(folder, "probe"))]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return [flag]
    print("clstm: no OpenMP here; threadpoolctl will not limit its threads", file=sys.stderr)
    return []


class BuildKernels(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()  # extensions compiled side by side

    def build_extensions(self):
        openmp = openmp_flags(self.compiler.compiler)
        for extension in self.extensions:
            own = openmp if extension.name.endswith("._parallel") else []
            extension.extra_compile_args = [*FLAGS, *own, "-pthread"]
            extension.extra_link_args = [*own, "-pthread", "-Wl,-s"]
        super().build_extensions()


def extension(name):
    sources = [f"clstm/_kernels/{name}.pyx"]
    if name == "_dispatch":
        sources += ["csrc/dispatch.c", *sorted(glob("csrc/isa/*.c"))]
    return Extension(
        f"clstm._kernels.{name}",
        sources,
        include_dirs=["csrc", "clstm/_kernels"],
        depends=HEADERS,
    )


directives = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
    "freethreading_compatible": True,
}
if __name__ == "__main__":  # Cython's processes may import this file
    names = [Path(path).stem for path in sorted(glob("clstm/_kernels/*.pyx"))]
    setup(
        ext_modules=cythonize(
            [extension(name) for name in names],
            compiler_directives=directives,
            build_dir="build",
            nthreads=os.cpu_count() or 1,
        ),
        cmdclass={"build_ext": BuildKernels},
    )
