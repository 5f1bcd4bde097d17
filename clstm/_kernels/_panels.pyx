"""How the native LSTM's arrays are laid out, and how a team shares them.

A unit block is 16 units, of which the last one may have fewer; NU of them make H units, and
HP = 16 NU. Weights are packed in panels, states in blocks [NU][B][16].
"""

from libc.string cimport memcpy, memset

import numpy as np

from ._dispatch cimport clstm_gemm, clstm_kernels, native_kernels

cdef extern from "stdlib.h":
    void *aligned_alloc(size_t alignment, size_t size)


cdef Share share_of(int row_groups, const Py_ssize_t *row_bounds, Py_ssize_t B, Py_ssize_t NU,
                    int thread, int size) noexcept nogil:
    cdef Share share
    if size % row_groups != 0:  # the system gave fewer threads than were asked for
        row_groups = 1
    share.unit_groups = size // row_groups
    share.group = thread // share.unit_groups
    share.part = thread % share.unit_groups
    share.unit = NU * share.part // share.unit_groups
    share.unit_end = NU * (share.part + 1) // share.unit_groups
    share.row = row_bounds[share.group] if row_groups > 1 else 0
    share.row_end = row_bounds[share.group + 1] if row_groups > 1 else B
    return share


cdef void pack_share(const float *w, Py_ssize_t K, Py_ssize_t H, bint transposed, float *panels,
                     int thread, int size) noexcept nogil:
    cdef const clstm_kernels *table = native_kernels()
    cdef Py_ssize_t NU = up(H) // GROUP
    cdef Py_ssize_t groups = up(K) // GROUP if transposed else NU  # [K / 16] or [NU] panels
    cdef Py_ssize_t panel = 4 * up(H) * GROUP if transposed else K * GATES
    cdef Py_ssize_t first = groups * thread // size, last = groups * (thread + 1) // size, u, v
    if transposed and H % GROUP:
        memset(panels + first * panel, 0, (last - first) * panel * sizeof(float))
    for v in range(4):
        if not transposed:
            table.pack(K, H, w + v * H, 4 * H, 1, panels + v * K * GROUP, GROUP, panel, first,
                       last)
            continue
        for u in range(NU):
            table.pack(min(<Py_ssize_t>GROUP, H - u * GROUP), K, w + v * H + u * GROUP, 1, 4 * H,
                       panels + (u * 4 + v) * GROUP * GROUP, GROUP, panel, first, last)


cdef Py_ssize_t panels_size(Py_ssize_t K, Py_ssize_t H, bint transposed) except -1 nogil:
    return floats(up(K) if transposed else K, up(H), 4)


cdef Py_ssize_t floats(Py_ssize_t a, Py_ssize_t b=1, Py_ssize_t c=1) except -1 nogil:
    """All sizes of scratch come from here: 16 of them together, in bytes, stay in 64 bits."""
    cdef Py_ssize_t most = (<Py_ssize_t>1) << 57
    if (b > 0 and a > most // b) or (c > 0 and a * b > most // c):
        raise MemoryError(f"no room for {a} x {b} x {c} floats")
    return up(a * b * c)


cdef Py_ssize_t up(Py_ssize_t n) noexcept nogil:
    """n rounded up to whole groups"""
    return (n + GROUP - 1) // GROUP * GROUP


cdef aligned_array(Py_ssize_t size):
    """`size` float32 that begin on a line of the cache."""
    raw = np.empty(size + GROUP, np.float32)
    cdef float[::1] view = raw
    cdef Py_ssize_t offset = (64 - <size_t>&view[0] % 64) % 64 // 4
    return raw[offset:offset + size]


cdef float *allocate(Py_ssize_t size) except NULL:
    """Room for `size` floats on a line of the cache; the caller frees it."""
    cdef void *p = aligned_alloc(64, up(size + 1) * sizeof(float))
    if p == NULL:
        raise MemoryError(f"no room for {size} floats")
    return <float*>p


cdef float *carve(float **room, Py_ssize_t size) noexcept nogil:
    """The next `size` floats of a room, and on to the next line of the cache."""
    cdef float *part = room[0]
    room[0] += up(size)
    return part


cdef void gemm_groups(const clstm_gemm *whole, Py_ssize_t first, Py_ssize_t last,
                      Py_ssize_t columns) noexcept nogil:
    cdef clstm_gemm g = whole[0]
    cdef Py_ssize_t u = first
    while u < last and g.rows > 0:
        g.groups = min(<Py_ssize_t>4, last - u)
        g.last = min(<Py_ssize_t>GROUP, columns - (u + g.groups - 1) * GROUP)
        g.b, g.c = whole.b + u * g.b_group, whole.c + u * GROUP
        if whole.start != NULL:
            g.start = whole.start + u * g.start_group
        native_kernels().gemm(&g)
        u += g.groups


cdef void to_blocks(const float *rows, float *blocks, Py_ssize_t B, Py_ssize_t H) noexcept nogil:
    """(B, H) to [NU][B][16], with zeros where a unit does not exist"""
    cdef Py_ssize_t u, r, n
    for u in range(up(H) // GROUP):
        n = min(<Py_ssize_t>GROUP, H - u * GROUP)
        for r in range(B):
            memcpy(blocks, rows + r * H + u * GROUP, n * sizeof(float))
            memset(blocks + n, 0, (GROUP - n) * sizeof(float))
            blocks += GROUP


cdef void from_blocks(const float *blocks, Py_ssize_t stride, float *row,
                      Py_ssize_t H) noexcept nogil:
    """One row (H) from blocks that are `stride` reals apart"""
    cdef Py_ssize_t u
    for u in range(up(H) // GROUP):
        memcpy(row + u * GROUP, blocks + u * stride,
               min(<Py_ssize_t>GROUP, H - u * GROUP) * sizeof(float))
