"""Bias and variance from the errors of the parts, with advice in words (Ng 2018, "Machine Learning Yearning")."""

from __future__ import annotations

from math import isfinite


class BiasVariance:
    """What the errors of the parts say.

    Attributes
    ----------
    avoidable_bias : float
        Training error - optimal error.
    variance : float
        Development error - training error; with a train-dev part, that part's error - training error.
    mismatch : float or None
        Development error - train-dev error: what the change of distribution costs.
    high_bias, high_variance, high_mismatch : bool
        Above the tolerance.
    verdict : str
        "high bias", "high variance", "high bias and high variance", "good"; and "data mismatch".
    advice : list of str
        Sentences with the numbers they rest on.
    """

    def __init__(
        self,
        train_error: float,
        dev_error: float,
        optimal_error: float,
        train_dev_error: float | None,
        tolerance: float,
    ) -> None:
        self.train_error, self.dev_error, self.optimal_error = train_error, dev_error, optimal_error
        self.train_dev_error, self.tolerance = train_dev_error, tolerance
        self.avoidable_bias = train_error - optimal_error
        self.variance = (dev_error if train_dev_error is None else train_dev_error) - train_error
        self.mismatch = None if train_dev_error is None else dev_error - train_dev_error
        self.high_bias = self.avoidable_bias > tolerance
        self.high_variance = self.variance > tolerance
        self.high_mismatch = self.mismatch is not None and self.mismatch > tolerance
        names = {"high bias": self.high_bias, "high variance": self.high_variance, "data mismatch": self.high_mismatch}
        self.verdict = " and ".join(name for name, holds in names.items() if holds) or "good"
        self.advice = list(self._advise())

    def _advise(self):
        numbers = f"training error {self.train_error:.2%}, optimal {self.optimal_error:.2%}"
        if self.high_bias:
            yield (
                f"avoidable bias {self.avoidable_bias:.2%} ({numbers}): a larger network, longer training, a better "
                "optimizer or rate, less regularisation"
                + ("; the small gap to the development part leaves room for it" if not self.high_variance else "")
            )
        if self.high_variance:
            other = self.dev_error if self.train_dev_error is None else self.train_dev_error
            part = "development" if self.train_dev_error is None else "train-dev"
            yield (
                f"variance {self.variance:.2%} ({part} error {other:.2%}, training error {self.train_error:.2%}): more "
                "data or augmentation, more regularisation (L2, dropout), bagging"
            )
        if self.high_mismatch:
            yield (
                f"data mismatch {self.mismatch:.2%} (development error {self.dev_error:.2%}, train-dev error "
                f"{self.train_dev_error:.2%}): the parts differ; train on data like the development part's"
            )
        if self.verdict == "good":
            yield (
                f"neither bias ({self.avoidable_bias:.2%}) nor variance ({self.variance:.2%}) is above "
                f"{self.tolerance:.2%} ({numbers}): nothing to repair"
            )

    def __str__(self) -> str:
        return "\n".join([f"{self.verdict}", *(f"- {line}" for line in self.advice)])

    def __repr__(self) -> str:
        return f"BiasVariance({self.verdict!r}, bias={self.avoidable_bias:.4g}, variance={self.variance:.4g})"


def bias_variance(
    train_error: float,
    dev_error: float,
    optimal_error: float = 0.0,
    *,
    train_dev_error: float | None = None,
    tolerance: float = 0.02,
) -> BiasVariance:
    """Judge the errors of the training and development parts.

    Parameters
    ----------
    train_error, dev_error : float
        Shares, such as 0.01 and 0.11 (error rates; for regressions the unexplained variance, 1 - R²).
    optimal_error : float, default 0
        What the best possible model would have: Bayes' error, or that of a human.
    train_dev_error : float, optional
        On rows from the training distribution that were not trained on, where the development part comes from another.
    tolerance : float, default 0.02
        A gap above it is called high.

    Returns
    -------
    BiasVariance

    Examples
    --------
    >>> bias_variance(0.01, 0.11).verdict
    'high variance'
    >>> bias_variance(0.15, 0.16, optimal_error=0.15).verdict
    'good'
    """
    errors = {"train_error": train_error, "dev_error": dev_error}
    errors |= {"optimal_error": optimal_error, "tolerance": tolerance}
    errors.update({} if train_dev_error is None else {"train_dev_error": train_dev_error})
    for name, value in errors.items():
        if isinstance(value, (str, bool)) or not isfinite(value) or value < 0:
            raise ValueError(f"bias_variance: {name} must be a share >= 0, such as 0.15 for 15 %; got {value!r}")
    if optimal_error >= 1:
        raise ValueError(f"bias_variance: optimal_error must be a share below 1, got {optimal_error!r}; 15 % is 0.15")
    return BiasVariance(*(float(e) for e in (train_error, dev_error, optimal_error)), train_dev_error, float(tolerance))
