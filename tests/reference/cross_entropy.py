"""Softmax cross-entropy with class weights w, sample weights s, label smoothing e and an ignored label.

Target distribution q_i: (1 - e) [j = y_i] + e / C for labels, (1 - e) t_ij + e / C for rows of probabilities t.
loss_i = -s_i sum_j w_j q_ij log p_ij, zero for ignored rows.
mean: sum_i loss_i / S with S = sum_i s_i w_{y_i} over the rows that count (labels), or S = sum_i s_i (probabilities).
Gradient of the sum: s_i (p_ij sum_k w_k q_ik - w_j q_ij); divided by S for the mean. S = 0 gives loss 0 and gradient 0.
This is PyTorch's cross_entropy (label smoothing: Szegedy et al. 2016, section 7) with sample weights added.
"""

import numpy as np

from .precision import wide
from .softmax import log_softmax, softmax


def softmax_cross_entropy(
    logits, labels, class_weight=None, sample_weight=None, label_smoothing=0.0, ignore_index=None, reduction="mean"
):
    logits, labels = wide(logits), np.asarray(labels)
    rows, classes = logits.shape
    weights = np.ones(classes) if class_weight is None else wide(class_weight)
    samples = np.ones(rows) if sample_weight is None else wide(sample_weight)
    if labels.ndim == 1:
        counts = np.ones(rows, bool) if ignore_index is None else labels != ignore_index
        safe = np.where(counts, labels, 0)
        target = np.eye(classes)[safe]
        samples = np.where(counts, samples, 0)
        divisor = (samples * weights[safe]).sum()
    else:
        target = wide(labels)
        divisor = samples.sum()
    q = weights * ((1 - label_smoothing) * target + label_smoothing / classes)
    with np.errstate(invalid="ignore"):
        terms = np.where(q == 0, 0, q * log_softmax(logits))
    losses = -samples * terms.sum(axis=1)
    gradient = samples[:, None] * (softmax(logits) * q.sum(axis=1, keepdims=True) - q)
    if reduction == "none":
        return losses, gradient
    if reduction == "sum":
        return losses.sum(), gradient
    if divisor == 0:
        return 0.0, np.zeros_like(gradient)
    return losses.sum() / divisor, gradient / divisor
