from ._dispatch cimport real

# C (M, N) = op(A) (M, K) op(B) (K, N) + beta C, all row-major; lda, ldb, ldc: reals between rows
# of A, B, C as they lie in memory.  Only inside `with exclusive:`.
cdef void gemm(bint transpose_a, bint transpose_b, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
               const real *A, Py_ssize_t lda, const real *B, Py_ssize_t ldb,
               real beta, real *C, Py_ssize_t ldc) noexcept nogil
