"""Sums, means and maxima along axes. A float sum errs by at most n u sum |x| (Higham 2002, 4.4)."""

from .precision import wide


def sum(x, axis=None, keepdims=False):
    return wide(x).sum(axis=axis, keepdims=keepdims)


def mean(x, axis=None, keepdims=False):
    return wide(x).mean(axis=axis, keepdims=keepdims)


def max(x, axis=None, keepdims=False):
    return wide(x).max(axis=axis, keepdims=keepdims)
