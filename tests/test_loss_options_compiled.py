"""Class weights together with ignored labels in compiled functions and in training, in float64 against PyTorch."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import nn, optim

torch = pytest.importorskip("torch")
CLASSES, IGNORED = 7, 2
REDUCTIONS = ["mean", "sum", "none"]


def operands(rng, rows, ignored=IGNORED):
    """Logits, labels of which a third is ignored, class weights of which one is 0."""
    logits, labels = 3 * rng.standard_normal((rows, CLASSES)), rng.integers(0, CLASSES, rows)
    labels[labels == IGNORED] = 0
    labels[::3] = ignored
    weight = rng.uniform(0.2, 3, CLASSES)
    weight[4] = 0
    return logits, labels, weight


def torch_loss(logits, labels, weight, **options):
    return torch.nn.functional.cross_entropy(logits, torch.tensor(labels), torch.tensor(weight), **options)


@pytest.mark.parametrize("ignored", [IGNORED, -100])
@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_compiled_loss_and_gradient(reduction, smoothing, ignored, rng):
    options = {"ignore_index": ignored, "label_smoothing": smoothing, "reduction": reduction}
    logits, labels, weight = operands(rng, 41, ignored)
    probe = rng.standard_normal(41) if reduction == "none" else 1.0

    def loss(x, y, w, p):
        return F.sum(F.cross_entropy(x, y, weight=w, **options) * p)

    tensor = torch.tensor(logits, requires_grad=True)
    expected = (torch_loss(tensor, labels, weight, **options) * torch.tensor(probe)).sum()
    expected.backward()
    value, gradient = fastnn.value_and_grad(loss)(logits, labels, weight, probe)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-11, atol=1e-15)
    assert not gradient[::3].any()
    compiled = fastnn.compile(loss)
    for rows in (41, 9):  # another number of rows is another program
        some = (logits[:rows], labels[:rows], weight, probe[:rows] if reduction == "none" else probe)
        given = (torch_loss(torch.tensor(some[0]), some[1], weight, **options) * torch.tensor(some[3])).sum()
        np.testing.assert_allclose(compiled(*some), given.item(), rtol=1e-12)
    with pytest.raises(IndexError, match="label 7 of row 5 is out of range for 7 classes"):
        compiled(logits, np.where(np.arange(41) == 5, CLASSES, labels), weight, probe)


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("reduction", REDUCTIONS[:2])
def test_training(reduction, smoothing, rng):
    x, labels, weight = operands(rng, 50)
    state = {"weight": rng.standard_normal((CLASSES, CLASSES)), "bias": rng.standard_normal(CLASSES)}
    model, peer = nn.Linear(CLASSES, CLASSES).to("float64"), torch.nn.Linear(CLASSES, CLASSES).double()
    model.load_state_dict(state)
    peer.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    options = {"ignore_index": IGNORED, "label_smoothing": smoothing, "reduction": reduction}
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(weight=weight, **options), optim.SGD(lr=0.01))
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.01)
    for step in range(12):
        rows = slice(7 * (step % 5), 7 * (step % 5) + 13)
        expected = torch_loss(peer(torch.tensor(x[rows])), labels[rows], weight, **options)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        assert trainer.train_step(x[rows], labels[rows]) == pytest.approx(expected.item(), rel=1e-11)
    for name, tensor in peer.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], tensor.numpy(), rtol=1e-10)
