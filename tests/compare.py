"""How results are judged: units in the last place, error bounds, and a guard against tests that prove nothing."""

import numpy as np

MOSTLY_ZERO = 0.65  # a comparison whose expected values are zero beyond this share proves little


def unit_in_last_place(exact, dtype):
    """Distance between neighbouring numbers of ``dtype`` at ``exact``, in the precision of ``exact``."""
    info = np.finfo(dtype)
    magnitude = np.abs(np.asarray(exact)).clip(info.smallest_normal, info.max)
    return np.exp2(np.floor(np.log2(magnitude.astype(np.longdouble)))) * info.eps


def ulp_error(got, exact):
    """|got - exact| in units in the last place of the dtype of ``got``; 0 where both are the same infinity or NaN."""
    exact = np.asarray(exact)
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = exact.astype(got.dtype)
        same = (got == rounded) | (np.isnan(got) & np.isnan(exact))
        error = np.abs(got.astype(np.longdouble) - exact) / unit_in_last_place(exact, got.dtype)
    return np.where(same & ~np.isfinite(rounded), 0, error).astype(np.float64)


def assert_meaningful(exact):
    """Fail if nearly all expected values are zero: such a test would pass on a kernel that writes zeros."""
    exact = np.asarray(exact)
    if exact.size >= 8:
        share = np.mean(exact == 0)
        assert share <= MOSTLY_ZERO, f"{share:.0%} of the expected values are zero: the test proves nothing"


def assert_ulp(got, exact, limit, sparse=False):
    """Every element within ``limit`` units in the last place; ``sparse`` allows mostly zeros."""
    if not sparse:
        assert_meaningful(exact)
    assert got.shape == np.shape(exact)
    error = ulp_error(got, exact)
    if error.size:
        worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        assert error[worst] <= limit, f"{error[worst]:.3g} ulp at {worst}: got {got[worst]!r}, exact {exact[worst]!r}"


def assert_within(got, exact, bound, sparse=False):
    """Every element within an absolute bound (scalar or array)."""
    if not sparse:
        assert_meaningful(exact)
    got = np.asarray(got)
    assert got.shape == np.shape(exact)
    excess = np.abs(got.astype(np.longdouble) - exact) - bound
    if excess.size:
        worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
        over = f"over by {excess[worst]:.3g}"
        assert excess[worst] <= 0, f"at {worst}: got {got[worst]!r}, exact {np.asarray(exact)[worst]!r}, {over}"


def assert_norm_within(got, exact, limit):
    """Relative error in the Euclidean norm."""
    assert_meaningful(exact)
    got, exact = np.asarray(got, np.float64), np.asarray(exact, np.float64)
    assert got.shape == exact.shape
    scale = np.linalg.norm(exact)
    error = np.linalg.norm(got - exact) / scale if scale else np.linalg.norm(got)
    assert error <= limit, f"relative error {error:.3g} above {limit:.3g}"


def same_bits(a, b):
    """Whether two arrays hold the same bits (NaN payloads and the sign of zero included)."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == np.longdouble and a.dtype != np.float64:  # six of its sixteen bytes are padding, and anything
        return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b))
    return a.tobytes() == b.tobytes()
