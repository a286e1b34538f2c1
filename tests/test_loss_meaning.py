"""What a loss says of itself: target, link, decision, and what a row is worth."""

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import nn
from fastnn.nn.losses import CLASSES, meaning_of

ROWS, CLASSES_PER_ROW = 40, 5


def a_case(loss, rng, dtype):
    """(outputs, targets) that the loss takes."""
    if loss.target == "class":
        labels = rng.integers(0, CLASSES_PER_ROW, ROWS)
        return rng.normal(size=(ROWS, CLASSES_PER_ROW)).astype(dtype), labels
    output = rng.normal(size=(ROWS, 3)).astype(dtype)
    if type(loss) is nn.BCELoss:
        output = 1 / (1 + np.exp(-output))
    target = rng.normal(size=output.shape)
    if loss.target == "binary":
        target = np.where(target > 0, 1.0, loss.domain.low)
    elif loss.domain is not None:
        target = np.floor(np.abs(4 * target))
    return output, target.astype(dtype)


LOSSES = [
    *(cls() for cls in CLASSES.values()),
    nn.PoissonNLLLoss(log_input=True, full=True),
    nn.BCEWithLogitsLoss(pos_weight=3.0),
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss([0.5, 1, 2, 0, 3]),
    nn.CrossEntropyLoss(ignore_index=2),
    nn.CrossEntropyLoss(np.arange(1.0, 6.0), ignore_index=-100, label_smoothing=0.1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_is_the_weighted_mean_of_its_rows(loss, weighted, dtype, rng):
    """Means over parts are put together by the sums of row_weights, for every loss, weight and ignored label."""
    output, target = a_case(loss, rng, dtype)
    if loss.ignore_index is not None:
        target[::3] = loss.ignore_index
    sample = rng.integers(0, 4, ROWS).astype(dtype) if weighted else None
    weights = loss.row_weights(target, sample)
    assert weights is None or (weights.dtype == np.float64 and weights.shape == (ROWS,))
    weights = np.ones(ROWS) if weights is None else weights
    one = np.ones(1, dtype)
    rows = [loss(output[i : i + 1], target[i : i + 1], sample_weight=one) for i in range(ROWS)]
    whole = loss(output, target, sample_weight=sample)
    assert float(whole) == pytest.approx(np.dot(weights, rows) / weights.sum(), rel=1e-5)
    parts = [slice(0, 7), slice(7, 31), slice(31, ROWS)]
    means = [loss(output[p], target[p], sample_weight=None if sample is None else sample[p]) for p in parts]
    shares = [weights[p].sum() for p in parts]
    assert float(whole) == pytest.approx(np.dot(means, shares) / np.sum(shares), rel=1e-5)
    loss_sum = type(loss)(**{**{k: v for k, v in loss.to_config().items() if k != "class"}, "reduction": "sum"})
    assert loss_sum.reduction == "sum" and loss.reduction == "mean"
    np.testing.assert_array_equal(loss_sum.row_weights(target, sample), loss.row_weights(target, sample))


def test_rows_of_probabilities_weigh_their_sample_weight(rng):
    loss = nn.CrossEntropyLoss([1, 2, 3, 4, 5])
    output = rng.normal(size=(ROWS, 5))
    target = rng.dirichlet(np.ones(5), ROWS)
    sample = rng.random(ROWS)
    assert loss.row_weights(target) is None
    rows = [loss(output[i : i + 1], target[i : i + 1]) for i in range(ROWS)]
    whole = loss(output, target, sample_weight=sample)
    assert whole == pytest.approx(np.dot(loss.row_weights(target, sample), rows) / sample.sum())


def test_every_loss_states_its_target_and_link():
    stated = {name: (cls().target, cls().link) for name, cls in CLASSES.items()}
    assert stated["MSELoss"] == stated["QuantileLoss"] == ("same", "identity")
    assert stated["PoissonNLLLoss"] == ("same", "exp")
    assert nn.PoissonNLLLoss(log_input=False).link == "identity"
    assert stated["BCEWithLogitsLoss"] == ("binary", "sigmoid")
    assert stated["BCELoss"] == stated["HingeLoss"] == stated["SquaredHingeLoss"] == ("binary", "identity")
    assert (nn.CrossEntropyLoss().target, nn.CrossEntropyLoss().link) == ("class", "softmax")


def test_the_threshold_is_the_losses_own():
    """0.3 is no for a probability and yes for a logit or a margin."""
    output = np.array([[0.3], [0.7], [-0.2]])
    assert nn.BCELoss().decision(output).tolist() == [0, 1, 0]
    assert nn.BCEWithLogitsLoss().decision(output).tolist() == [1, 1, 0]
    assert nn.HingeLoss().decision(output).tolist() == [1, 1, -1]
    assert nn.HingeLoss().truth(np.array([[1.0], [-1.0]]))[0].tolist() == [1, -1]
    assert nn.BCELoss().truth(np.array([[0.9], [0.0]]))[0].tolist() == [1, 0]


def test_multi_label_rows_that_sum_to_one_stay_multi_label():
    target = np.array([[1.0, 0, 0], [0, 1, 0]])
    decided = nn.BCEWithLogitsLoss().decision(np.array([[2.0, 1, -1], [-1, 3, 2]]))
    assert decided.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert nn.BCEWithLogitsLoss().truth(target)[0].tolist() == target.tolist()


def test_probabilities_follow_the_link(rng):
    z = rng.normal(size=(6, 4)).astype(np.float32)
    p = nn.CrossEntropyLoss().probabilities(z)
    np.testing.assert_allclose(p, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(nn.BCEWithLogitsLoss().probabilities(z), 1 / (1 + np.exp(-z)), rtol=1e-5)
    np.testing.assert_array_equal(nn.BCELoss().probabilities(abs(z)), abs(z))
    np.testing.assert_allclose(nn.PoissonNLLLoss().values(z), np.exp(z), rtol=1e-5)
    for loss in (nn.MSELoss(), nn.HingeLoss(), nn.PoissonNLLLoss()):
        with pytest.raises(ValueError, match="have no probabilities"):
            loss.probabilities(z)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), nn.BCELoss(), nn.PoissonNLLLoss()])
def test_outputs_of_values_is_the_inverse(loss, rng):
    z = rng.normal(size=(6, 4))
    p = loss.values(1 / (1 + np.exp(-z)) if type(loss) is nn.BCELoss else z)
    np.testing.assert_allclose(loss.values(loss.outputs(p)), p, rtol=1e-9)


def test_subclasses_keep_the_meaning():
    class Mine(nn.CrossEntropyLoss):
        pass

    assert (Mine().target, Mine().link, Mine(ignore_index=1).ignore_index) == ("class", "softmax", 1)


def test_any_callable_has_a_meaning():
    def focal(output, target, sample_weight=None):
        return F.cross_entropy(output, target, sample_weight=sample_weight)

    plain = meaning_of(focal)
    assert (plain.target, plain.link, plain.reduction) == ("same", "identity", "mean")
    assert plain.row_weights(np.zeros(3)) is None
    assert plain.row_weights(np.zeros(3), np.float32([1, 2, 3])).tolist() == [1, 2, 3]
    focal.target = "class"
    declared = meaning_of(focal)
    assert declared.decision(np.array([[1.0, 3.0], [2.0, 0.0]])).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r'focal does not say what its outputs are: .*loss.link = "softmax"'):
        declared.probabilities(np.zeros((2, 2)))
    focal.link, focal.ignore_index = "softmax", 1
    declared = meaning_of(focal)
    np.testing.assert_allclose(declared.probabilities(np.zeros((2, 2))), 0.5)
    assert declared.row_weights(np.array([0, 1, 0])).tolist() == [1, 0, 1]
    focal.row_weights = lambda target, sample_weight=None: np.full(len(target), 2.0)
    assert meaning_of(focal).row_weights(np.array([0, 1])).tolist() == [2, 2]
    focal.decision = lambda output: (output[:, 0] > 1).astype(int)
    assert meaning_of(focal).decision(np.array([[2.0, 5.0]])).tolist() == [1]
    assert meaning_of(loss := nn.MSELoss()) is loss


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), nn.BCELoss(), nn.PoissonNLLLoss()])
def test_a_decision_from_averaged_values_is_that_of_the_outputs(loss, rng):
    output = rng.normal(size=(50, 3)) + (0.5 if type(loss) is nn.BCELoss else 0.0)
    said = loss.values(output)
    np.testing.assert_array_equal(loss.decision(said, linked=True), loss.decision(output))


@pytest.mark.parametrize(("name", "value"), [("target", "classes"), ("link", "softplus")])
def test_an_unknown_word_is_refused_by_name(name, value):
    def loss(output, target):
        return F.mean(output)

    setattr(loss, name, value)
    with pytest.raises(ValueError, match=f"loss: {name} must be one of .*, got '{value}'"):
        meaning_of(loss)
