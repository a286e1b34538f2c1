"""One test per promise that later work must not move."""

import threading
import time

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import LambdaCallback, Trainer, graph, nn, num_threads, optim
from fastnn.graph import passes


def data(rows=200, features=20, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, features)).astype(np.float32), rng.integers(0, classes, rows)


def model(seed=1):
    return nn.Sequential(
        nn.Linear(20, 70), nn.BatchNorm1d(70), nn.ReLU(), nn.Dropout(0.3), nn.Linear(70, 33), nn.Tanh(),
        nn.Linear(33, 5), seed=seed,
    )  # fmt: skip


def weights(module):
    return {name: array.tobytes() for name, array in module.state_dict().items()}


def fifty_steps(threads, dtype="float32", isa=None):
    x, y = data(500)
    net = model().to(dtype)
    trainer = Trainer(net, nn.CrossEntropyLoss(), optim.Adam(lr=0.01))
    with num_threads(threads, force=True):
        trainer.fit(x, y, epochs=5, batch_size=50, progress=False)
    assert trainer.step == 50
    return weights(net)


def test_fifty_steps_give_the_same_bits_with_1_2_3_and_4_threads(isa, dtype):
    one = fifty_steps(1, dtype)
    for threads in (2, 3, 4):
        assert fifty_steps(threads, dtype) == one, threads


def test_steps_that_try_one_thread_and_two_give_the_bits_of_one():
    """Without force, steps.c measures both ways and changes between them while training runs."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((192, 512), dtype=np.float32), rng.integers(0, 10, 192)
    results = []
    for threads in (1, 2):
        model = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10), seed=3)
        trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=1e-3), num_threads=threads)
        trainer.fit(x, y, epochs=20, batch_size=64, progress=False)
        single = [trainer.train_step(x[:64], y[:64]) for _ in range(20)]
        assert trainer.step == 80
        results.append((trainer.history["loss"], single, model.state_dict()))
    (engine,) = {id(entry): entry for entry in trainer._runner._programs.values()}.values()
    with fastnn.num_threads(2):
        assert any(row["threads"] == 2 for row in engine.training.program.op_report(64))  # else nothing was tried
    assert results[0][:2] == results[1][:2]
    for name, value in results[0][2].items():
        assert np.array_equal(value, results[1][2][name]), name


def test_batches_of_1_32_33_and_100000_rows_use_one_program():
    net = model()
    x, _ = data(100_000)
    whole = net(x)
    compiled = {id(entry) for entry in net._compiled.values()}
    for rows in (1, 32, 33):
        np.testing.assert_array_equal(net(x[:rows]), whole[:rows])
    assert {id(entry) for entry in net._compiled.values()} == compiled
    assert len(compiled) == 1


def test_one_training_program_serves_batches_up_to_its_capacity():
    x, y = data(100)
    trainer = Trainer(model(), nn.CrossEntropyLoss(), optim.SGD())
    trainer.fit(x, y, epochs=1, batch_size=64, progress=False)  # 64 and 36 rows
    trainer.train_step(x[:17].copy(), y[:17])
    assert len(trainer._runner._programs) == 1


def test_frozen_layer_has_no_gradient_ops():
    x, y = data()

    def ops_of(net):
        trainer = Trainer(net, nn.CrossEntropyLoss(), optim.SGD())
        with passes.disabled("fuse_bias_gradient", "fuse_input_gradient"):  # each gradient an op of its own, to count
            trainer.train_step(x, y)
        (entry,) = trainer._runner._programs.values()
        training = entry.training
        names = [row["name"] for row in training.program.op_report(32)]
        return names, {id(parameter) for parameter, _ in training.gradients}

    net = model()
    everything, _ = ops_of(net)
    for parameter in (net[0].weight, net[0].bias):
        parameter.requires_grad = False
    before = weights(net)
    without, trained = ops_of(net)
    assert without.count("gemm") == everything.count("gemm") - 1  # dW of the first layer
    assert without.count("sum_rows") == everything.count("sum_rows") - 1  # its db
    assert not {id(net[0].weight), id(net[0].bias)} & trained
    after = weights(net)
    assert before["0.weight"] == after["0.weight"]
    assert before["4.weight"] != after["4.weight"]
    for i in (1, 4, 6):
        for parameter in (net[i].weight, net[i].bias):
            parameter.requires_grad = i == 6
    last_only, _ = ops_of(net)
    assert last_only.count("gemm") == 3 + 1  # three forward products, dW of the last layer, nothing below it
    assert not {"batch_norm_backward", "unary_backward"} & set(last_only)


class TiedAutoencoder(nn.Module):
    """Encoder and decoder share one matrix: y = relu(x W^T) W."""

    def __init__(self):
        self.encoder = nn.Linear(6, 4)
        self.weight = self.encoder.weight

    def forward(self, x):
        return F.relu(self.encoder(x)) @ self.weight


def test_tied_layer_trains():
    """The gradient of a shared weight is the sum over its uses (checked against central differences)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 6))
    net = TiedAutoencoder().to("float64")
    assert list(net.state_dict()) == ["weight", "encoder.bias"]
    seen = {}
    trainer = Trainer(
        net, nn.MSELoss(), optim.SGD(lr=0.1),
        gradient_hook=lambda gradients: seen.update({k: v.copy() for k, v in gradients.items()}),
    )  # fmt: skip
    start = net.weight.numpy().copy()
    bias = net.encoder.bias.numpy().copy()

    def loss(weight):
        return np.mean((np.maximum(x @ weight.T + bias, 0) @ weight - x) ** 2)

    trainer.train_step(x, x)
    numeric = np.zeros_like(start)
    for place in np.ndindex(*start.shape):
        step = np.zeros_like(start)
        step[place] = 1e-6
        numeric[place] = (loss(start + step) - loss(start - step)) / 2e-6
    np.testing.assert_allclose(seen["weight"], numeric, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(net.weight.numpy(), start - 0.1 * seen["weight"], rtol=1e-12)


class TwoInputs(nn.Module):
    def __init__(self):
        self.image = nn.Linear(6, 8)
        self.table = nn.Linear(3, 8)
        self.head = nn.Linear(16, 2)

    def forward(self, image, table):
        return self.head(F.concatenate([F.relu(self.image(image)), F.tanh(self.table(table))], axis=1))


def test_two_input_model_trains():
    rng = np.random.default_rng(0)
    image, table = rng.integers(0, 256, (300, 6), dtype=np.uint8), rng.normal(size=(300, 3))
    y = (image[:, 0] / 128.0 + table[:, 0] > 1).astype(int)
    runs = []
    for x in ((image, table), {"table": table, "image": image}):
        fastnn.manual_seed(0)
        net = nn.Sequential(TwoInputs())[0]
        trainer = Trainer(net, nn.CrossEntropyLoss(), optim.Adam(lr=0.003), metrics=("accuracy",))
        history = trainer.fit(x, y, epochs=25, batch_size=30, validation_split=0.2, progress=False)
        assert history["loss"][-1] < 0.5 * history["loss"][0]
        trainer.train_step(tuple(v[:9] for v in x) if isinstance(x, tuple) else {k: v[:9] for k, v in x.items()}, y[:9])
        runs.append(weights(net))
    assert runs[0] == runs[1]


def test_python_defined_op_trains():
    """A callback node: the program is split around it, and gradients flow through its vjp."""

    def swish(x):
        return x / (1 + np.exp(-x))

    def swish_vjp(grad, x):
        s = 1 / (1 + np.exp(-x))
        return grad * (s + x * s * (1 - s))

    class Net(nn.Module):
        def __init__(self, native):
            self.native = native
            self.first = nn.Linear(20, 16)
            self.second = nn.Linear(16, 5)

        def forward(self, x):
            z = self.first(x)
            return self.second(z * F.sigmoid(z) if self.native else F.python_op(swish, z, vjp=swish_vjp))

    x, y = data()
    losses = []
    for native in (True, False):
        fastnn.manual_seed(0)
        trainer = Trainer(Net(native).to("float64"), nn.CrossEntropyLoss(), optim.Adam(lr=0.01))
        history = trainer.fit(x, y, epochs=3, batch_size=40, progress=False)
        losses.append([*history["loss"], trainer.train_step(x, y), trainer.evaluate(x, y)["loss"]])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)


def test_gradient_of_a_gradient_of_softmax_cross_entropy():
    labels = np.array([1, 0, 2])

    def squared_gradient(logits):
        return (fastnn_gradient(logits) ** 2).sum()

    fastnn_gradient = graph.grad(lambda logits: F.cross_entropy(logits, labels))
    logits = np.random.default_rng(0).normal(size=(3, 4))
    assert fastnn.gradcheck(squared_gradient, logits)


def test_weight_changed_between_two_predictions_is_seen():
    net = model()
    x, _ = data(3)
    before = net(x)
    net[6].bias.assign(net[6].bias.numpy() + 1)
    np.testing.assert_allclose(net(x), before + 1, atol=1e-6)


def test_two_threads_predict_on_one_model():
    net = model()
    x, _ = data(2000)
    expected = net(x)
    results = {}

    def work(i):
        results[i] = all(np.array_equal(net(x), expected) for _ in range(20))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == {0: True, 1: True}


def test_predict_raises_while_another_thread_trains_the_model():
    x, y = data(2000)
    net = model()
    trainer = Trainer(net, nn.CrossEntropyLoss(), optim.Adam())
    started = threading.Event()
    callback = LambdaCallback(on_epoch_begin=lambda epoch: started.set(), on_epoch_end=lambda e, logs: net(x[:5]))
    worker = threading.Thread(
        target=lambda: trainer.fit(x, y, epochs=100_000, callbacks=[callback], progress=False), daemon=True
    )
    worker.start()
    try:
        assert started.wait(20)
        for call in (
            lambda: net(x),
            lambda: net[0](x),
            lambda: trainer.evaluate(x, y),
            lambda: trainer.train_step(x, y),
        ):
            with pytest.raises(RuntimeError, match="being trained by another thread"):
                call()
    finally:
        trainer.stop()
        worker.join(20)
    assert not worker.is_alive()
    assert net(x).shape == (2000, 5)


def test_the_interpreter_runs_while_a_fit_runs():
    """The native call releases the GIL and returns every 20 ms or so."""
    x, y = data(20_000)
    trainer = Trainer(model(), nn.CrossEntropyLoss(), optim.Adam())
    worker = threading.Thread(target=lambda: trainer.fit(x, y, epochs=100_000, progress=False), daemon=True)
    worker.start()
    ticks, end = 0, time.monotonic() + 0.5
    while time.monotonic() < end:
        time.sleep(0.005)
        ticks += 1
    trainer.stop()
    worker.join(20)
    assert not worker.is_alive()
    assert ticks > 10


def test_checkpoint_of_one_isa_and_thread_count_loads_in_another(tmp_path):
    x, y = data()
    isas = fastnn.available_isas()
    first, last = isas[0], isas[-1]

    def make():
        return Trainer(model(), nn.CrossEntropyLoss(), optim.Adam(lr=0.01), seed=3)

    with fastnn.isa(first), num_threads(1, force=True):
        saved = make()
        saved.fit(x, y, epochs=2, batch_size=40, progress=False)
        saved.save_checkpoint(tmp_path / "c.safetensors")
        expected = saved.predict(x)
    with fastnn.isa(last), num_threads(3, force=True):
        resumed = make()
        resumed.resume(tmp_path / "c.safetensors")
        assert weights(resumed.model) == weights(saved.model)
        np.testing.assert_allclose(resumed.predict(x), expected, rtol=1e-3, atol=1e-4)
        resumed.fit(x, y, epochs=1, batch_size=40, progress=False)
        assert resumed.epoch == 3
        assert resumed.step == 15


def test_resume_gives_the_bits_of_an_uninterrupted_run(tmp_path):
    x, y = data()
    whole, part, resumed = (Trainer(model(), nn.CrossEntropyLoss(), optim.Adam(lr=0.003), seed=3) for _ in range(3))
    whole.fit(x, y, epochs=4, batch_size=64, progress=False)
    part.fit(x, y, epochs=2, batch_size=64, progress=False)
    part.save_checkpoint(tmp_path / "c.safetensors")
    resumed.train_step(x, y)  # whatever it did before is forgotten
    resumed.resume(tmp_path / "c.safetensors")
    resumed.fit(x, y, epochs=2, batch_size=64, progress=False)
    assert weights(resumed.model) == weights(whole.model)
    assert resumed.history["loss"] == whole.history["loss"]
    other = Trainer(model(), nn.CrossEntropyLoss(), optim.SGD(), seed=3)
    with pytest.raises(ValueError, match="state of 'adam', this trainer's optimizer is 'sgd'"):
        other.resume(tmp_path / "c.safetensors")


def test_running_statistics_move_once_per_step_and_only_in_training():
    x, y = data(64)
    net = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 5), seed=1).to("float64")
    trainer = Trainer(net, nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
    trainer.train_step(x, y)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(net[0].running_mean.numpy(), 0.1 * wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(net[0].running_var.numpy(), 0.9 + 0.1 * wide.var(axis=0, ddof=1), rtol=1e-12)
    before = weights(net)
    trainer.evaluate(x, y)
    net(x)
    assert weights(net) == before


def test_dropout_draws_new_masks_at_every_step_and_the_same_in_every_run():
    x = np.ones((64, 50), np.float32)
    seen = []

    class Probe(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(np.ones(50, np.float32))
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            return self.dropout(x) * self.scale

    for _ in range(2):
        masks = []
        trainer = Trainer(
            Probe(), lambda output, target: (output - target).sum(), optim.SGD(lr=0.0),
            gradient_hook=lambda gradients, masks=masks: masks.append(gradients["scale"].copy()),
        )  # fmt: skip
        for _ in range(3):
            trainer.train_step(x, np.zeros_like(x))
        seen.append(masks)
    for a, b in zip(*seen, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(seen[0][0], seen[0][1])
    assert not np.array_equal(seen[0][1], seen[0][2])


def test_other_models_do_not_make_a_program_stale():
    net = model()
    x, _ = data(5)
    net(x)
    (compiled,) = list(net._compiled.values())
    nn.Linear(3, 3)
    net(x)
    assert list(net._compiled.values()) == [compiled]
