"""Losses, gradients and training steps against PyTorch in float64, the same weights on both sides.

Where PyTorch is not installed, values stored from it stand in: `python tests/test_parity_torch.py` prints them.
"""

import numpy as np
import pytest

from fastnn import Trainer, nn, optim

CASES = {
    # name: (layers, loss): layers are (kind, argument) for both libraries
    "classifier": ([("Linear", (6, 9)), ("ReLU", ()), ("Linear", (9, 4))], "CrossEntropyLoss"),
    "sigmoid": ([("Linear", (6, 9)), ("Sigmoid", ()), ("Linear", (9, 4))], "CrossEntropyLoss"),
    "regression": ([("Linear", (6, 9)), ("Tanh", ()), ("Linear", (9, 2))], "MSELoss"),
    # no bias before batch norm: its gradient is zero but for rounding, which Adam would blow up
    "batch_norm": (
        [("Linear", (6, 9, False)), ("BatchNorm1d", (9,)), ("ReLU", ()), ("BatchNorm1d", (9,)), ("Linear", (9, 4))],
        "CrossEntropyLoss",
    ),
}

# Losses of PyTorch 2.13 (float64) before steps 1, 2 and 50 of Adam with lr 0.01
STORED = {
    "classifier": [1.4453647766687538, 1.424648006841969, 1.2096662905502962],
    "sigmoid": [1.4069953074131, 1.3975328841543968, 1.3670944522413966],
    "regression": [0.37668231628242455, 0.3140446150281632, 0.10787095949058727],
    "batch_norm": [2.116000207349724, 1.955058093838724, 1.072713743199915],
}


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch")
    module.set_num_threads(1)  # tiny tensors; more threads only wait for each other
    return module


def values(shape, phase):
    """Numbers that need no library's random stream."""
    return (np.sin(np.arange(int(np.prod(shape))) * 1.7 + phase) * 0.5).reshape(shape)


def data(case):
    x = np.cos(np.arange(20 * 6) * 0.9).reshape(20, 6)
    if CASES[case][1] == "MSELoss":
        return x, values((20, 2), 3)
    return x, (np.arange(20) * 7 % 4).astype(np.int64)


def start(state):
    """Weights for a state_dict's names and shapes; running statistics stay as they are."""
    learned = sorted(name for name in state if name.endswith(("weight", "bias")))
    return {
        name: values(state[name].shape, i) + (1 if name.endswith("weight") and state[name].ndim == 1 else 0)
        for i, name in enumerate(learned)
    }


def fastnn_trainer(case, optimizer, **options):
    layers, loss = CASES[case]
    model = nn.Sequential(*[getattr(nn, kind)(*arguments) for kind, arguments in layers]).to("float64")
    model.load_state_dict(start(model.state_dict()), strict=False)
    return Trainer(model, getattr(nn, loss)(), optimizer, **options)


def torch_model(torch, case):
    layers, loss = CASES[case]
    model = torch.nn.Sequential(*[getattr(torch.nn, kind)(*arguments) for kind, arguments in layers]).double()
    weights = start({name: t.numpy() for name, t in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    return model, getattr(torch.nn, loss)()


def torch_losses(torch, case, steps):
    model, loss = torch_model(torch, case)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = map(torch.from_numpy, data(case))
    losses = []
    for _ in range(steps):
        value = loss(model(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses, {name: t.numpy() for name, t in model.state_dict().items()}


@pytest.mark.parametrize("case", CASES)
def test_losses_equal_the_stored_ones(case):
    trainer = fastnn_trainer(case, optim.Adam(lr=0.01))
    losses = [trainer.train_step(*data(case)) for _ in range(50)]
    np.testing.assert_allclose([losses[0], losses[1], losses[49]], STORED[case], rtol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_equal_pytorchs(case, torch):
    trainer = fastnn_trainer(case, optim.Adam(lr=0.01))
    losses = [trainer.train_step(*data(case)) for _ in range(50)]
    expected, state = torch_losses(torch, case, 50)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_allclose(value, state[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_pytorchs(case, torch):
    seen = {}
    trainer = fastnn_trainer(
        case,
        optim.SGD(lr=0.0),
        gradient_hook=lambda gradients: seen.update({k: g.copy() for k, g in gradients.items()}),
    )
    trainer.train_step(*data(case))
    model, loss = torch_model(torch, case)
    x, y = map(torch.from_numpy, data(case))
    loss(model(x), y).backward()
    peers = dict(model.named_parameters())
    assert peers.keys() == seen.keys()
    for name, gradient in seen.items():
        expected = peers[name].grad.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {"weight": [0.2, 1.0, 3.0, 0.5]}, {"ignore_index": 2}])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_options_of_cross_entropy_equal_pytorchs(options, reduction, torch):
    trainer = fastnn_trainer("classifier", optim.SGD(lr=0.01))
    trainer.loss = nn.CrossEntropyLoss(**options, reduction=reduction)
    peer_options = {**options, "reduction": reduction}
    if "weight" in options:
        peer_options["weight"] = torch.tensor(options["weight"], dtype=torch.float64)
    model, _ = torch_model(torch, "classifier")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = data("classifier")
    for _ in range(5):
        value = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y), **peer_options)
        counted = trainer.loss.row_weights(y)  # evaluate gives means per row, whatever the reduction
        rows = 1.0 if reduction == "mean" else float(len(y) if counted is None else counted.sum())
        assert trainer.evaluate(x, y)["loss"] == pytest.approx(value.item() / rows, rel=1e-10)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        assert trainer.train_step(x, y) == pytest.approx(value.item(), rel=1e-10)


if __name__ == "__main__":
    import torch

    for name in CASES:
        losses = torch_losses(torch, name, 50)[0]
        print(f'    "{name}": {[losses[0], losses[1], losses[49]]},')
