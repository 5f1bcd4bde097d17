"""The table of C kernels in use: chosen once at import, changed by `select`.

This is the only module that csrc/ is linked into; the others reach the kernels through it.
"""

cdef extern from "clstm.h" nogil:
    const clstm_kernels clstm_double
    const clstm_kernels *const *clstm_available()

cdef const clstm_kernels *const *_tables = clstm_available()
cdef const clstm_kernels *_float32 = _tables[0]


cdef const clstm_kernels *kernels(size_t itemsize) noexcept nogil:
    return _float32 if itemsize == 4 else &clstm_double


cdef const clstm_kernels *native_kernels() noexcept nogil:
    cdef const clstm_kernels *table = _float32
    return table if table.gemm != NULL else _tables[0]


def available() -> list[str]:
    """Names of the instruction sets that this CPU can run, best first."""
    names = []
    cdef size_t k = 0
    while _tables[k] != NULL:
        names.append(_tables[k].isa.decode())
        k += 1
    return names


def selected() -> str:
    """Name of the instruction set in use for float32."""
    return _float32.isa.decode()


def is_vector() -> bool:
    """Whether the instruction set in use has the native LSTM's kernels."""
    return _float32.gemm != NULL


def select(str name) -> None:
    """Use the instruction set `name`, one of `available()`, for float32."""
    global _float32
    _float32 = _tables[available().index(name)]
