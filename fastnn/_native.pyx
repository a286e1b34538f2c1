# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=True
"""The one extension module: run-time queries, eager ops and programs of the C library.

It trusts its callers inside the package: shapes, strides, dtypes and overlap are checked in Python before. No native
code ever frees or keeps NumPy memory; every reference that a program needs is held here.
"""

import threading

cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastnn cimport _c

cnp.import_array()

include "_native_runtime.pxi"
include "_native_arrays.pxi"
include "_native_ops.pxi"
include "_native_eager.pxi"
include "_native_eager_norms.pxi"
include "_native_eager_optimizers.pxi"
include "_native_revisions.pxi"
include "_native_guard.pxi"
include "_native_ledger.pxi"
include "_native_program.pxi"
include "_native_forward.pxi"
include "_native_call.pxi"
include "_native_step.pxi"

check_environment()
