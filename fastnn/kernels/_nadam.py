"""The momentum schedule of NAdam, in double: mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and its running product."""

from array import array

_products = {}  # {(beta1, momentum_decay): mu_1, mu_1 mu_2, ... until the product is 0}
_LIMIT = 64


def _mu(beta1, momentum_decay, step):
    return beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))


def _product(beta1, momentum_decay, step):
    known = _products.get((beta1, momentum_decay))
    if known is None:
        if len(_products) >= _LIMIT:
            _products.clear()
        known = _products[beta1, momentum_decay] = array("d", [1.0])
    while len(known) <= step and known[-1] != 0.0:
        known.append(known[-1] * _mu(beta1, momentum_decay, len(known)))
    return known[min(step, len(known) - 1)]


def nadam_shares(beta1, momentum_decay, step):
    """Weights of the first moment and of the gradient in step `step` (from 1) of NAdam.

    Returns
    -------
    (float, float)
        ``mu_(t+1) / (1 - mu_1 ... mu_(t+1))`` and ``(1 - mu_t) / (1 - mu_1 ... mu_t)``.
    """
    mu, following = _mu(beta1, momentum_decay, step), _mu(beta1, momentum_decay, step + 1)
    product = _product(beta1, momentum_decay, step)
    return following / (1.0 - product * following), (1.0 - mu) / (1.0 - product)
