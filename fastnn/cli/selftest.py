"""``fastnn selftest``: is this installation sound? Instruction sets against NumPy, gradients, threads, a training."""

import time

import numpy as np

_ROWS, _IN, _OUT = 37, 53, 29  # odd sizes: every tail runs


def _products(rng):
    """Largest error of products and softmax against float64, in units of eps * sqrt(length)."""
    from fastnn import kernels

    x, w = rng.normal(size=(_ROWS, _IN)).astype(np.float32), rng.normal(size=(_OUT, _IN)).astype(np.float32)
    b = rng.normal(size=_OUT).astype(np.float32)
    exact = x.astype(np.float64) @ w.T.astype(np.float64) + b
    size = np.abs(x.astype(np.float64)) @ np.abs(w.T.astype(np.float64)) + np.abs(b)
    error = np.abs(kernels.linear(x, w, b) - exact) / size / np.finfo(np.float32).eps
    shifted = np.exp(exact - exact.max(axis=1, keepdims=True))
    share = shifted / shifted.sum(axis=1, keepdims=True)
    close = np.abs(kernels.softmax(exact.astype(np.float32)) - share).max()
    return error.max() < np.sqrt(_IN) and close < 1e-5, f"largest error {error.max():.2f} eps"


def _network(seed=0):
    from fastnn import nn, optim
    from fastnn.training.trainer import Trainer

    hidden = nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.2)
    model = nn.Sequential(*hidden, nn.Linear(48, 10), seed=seed)
    return Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=3e-3), metrics=["accuracy"], seed=seed)


def _threads(rng):
    """The same bits from one thread and from three."""
    from fastnn.data import load_digits
    from fastnn.threads import num_threads

    x, y = load_digits()
    results = []
    for count in (1, 3):
        with num_threads(count, force=True):
            trainer = _network()
            trainer.fit(x[:700], y[:700], epochs=1, batch_size=100, progress=False)
            results.append(trainer.predict(x))
    return np.array_equal(*results), "the same bits from 1 and 3 threads"


def _gradients(rng):
    """Gradients of a small net in float64 against central differences."""
    from fastnn import functional as F
    from fastnn.graph import value_and_grad

    x, target = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))

    def loss(w, v):
        return F.mse_loss(F.tanh(x @ w) @ v, target)

    w, v = rng.normal(size=(5, 4)), rng.normal(size=(4, 3))
    _, got = value_and_grad(loss)(w, v)
    expected, h = np.zeros_like(w), 1e-5
    for place in np.ndindex(*w.shape):
        step = np.zeros_like(w)
        step[place] = h
        above, below = (((np.tanh(x @ (w + s)) @ v - target) ** 2).mean() for s in (step, -step))
        expected[place] = (above - below) / (2 * h)
    score = np.linalg.norm(got - expected) / (np.linalg.norm(got) + np.linalg.norm(expected))
    return score < 1e-7, f"score {score:.1e}; below 1e-7 is right"


def _training(rng):
    """A net learns the digits inside the package."""
    from fastnn.data import load_digits, train_dev_test_split

    (x, y), test = train_dev_test_split(*load_digits(), sizes=(0.8, 0.2), stratify=True)
    trainer, began = _network(), time.perf_counter()
    trainer.fit(x / 16, y, epochs=12, batch_size=32, progress=False)
    seconds = time.perf_counter() - began
    accuracy = trainer.evaluate(test[0] / 16, test[1])["accuracy"]
    return accuracy > 0.94, f"digits: {100 * accuracy:.1f} % in {seconds:.2f} s"


def _installation(rng):
    """No other distribution has written into our folder."""
    from fastnn.cli.info import DISTRIBUTION, describe_owners, other_owners

    owners = other_owners()
    return not owners, describe_owners(owners) if owners else f"the folder fastnn/ is {DISTRIBUTION}'s alone"


def selftest(options):
    """Run ``fastnn selftest``; returns the exit code: 0, or 1 if a check failed."""
    from fastnn import available_isas, isa

    checks = [("installation", _installation, None)]
    checks += [(f"products, {name}", _products, name) for name in available_isas()]
    checks += [("gradients", _gradients, None), ("threads", _threads, None), ("training", _training, None)]
    failed = 0
    for title, check, name in checks:
        try:
            with isa(name or available_isas()[0]):
                good, told = check(np.random.default_rng(0))
        except Exception as error:  # a broken installation may fail in any way; the other checks still tell something
            good, told = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
        failed += not good
        print(f"{'ok' if good else 'FAILED':<7} {title:<18} {told}", flush=True)
    print("all is well" if not failed else f"{failed} of {len(checks)} checks failed; fastnn info tells the versions")
    return 1 if failed else 0
