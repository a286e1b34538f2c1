"""NumPy with its BLAS told to use the AVX-512 kernels that it has, which it does not choose on every processor."""

import os
from pathlib import Path

if "avx512vl" not in Path("/proc/cpuinfo").read_text():
    raise ImportError("this processor has no AVX-512")
os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"  # read when NumPy loads

from . import numpy_peer  # noqa: E402

NAME = "NumPy (SkylakeX)"
FACTORIES = {kind: numpy_peer.FACTORIES[kind] for kind in ("linear", "linear_plain", "linear_backward")}
version, setup = numpy_peer.version, numpy_peer.setup
