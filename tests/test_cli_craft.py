"""`fastnn train` with schedules, augmentation, averages, search, ensembles, checkpoints, reports."""

import json
import re

import numpy as np
import pytest

from fastnn.cli import main, recipe
from fastnn.io.model_file import load_model_file

QUICK = ["--layers", "12", "--epochs", "3", "--no-plot"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "schedule", ["constant", "cosine", "onecycle", "exponential", "step", "inverse", "triangular", "plateau"]
)
def test_schedules_move_the_rate(folder, schedule):
    assert main(["train", "digits", *QUICK, "--epochs", "9", "--schedule", schedule, "--lr", "0.01", "-o", "m"]) == 0
    rates = load_model_file("m").training["history"]["lr"]
    assert len(rates) == 9 and max(rates) <= 0.01 + 1e-12
    if schedule == "constant":
        assert rates == [0.01] * 9
    elif schedule != "plateau":
        assert rates[-1] < 0.2 * 0.01


def test_augmentation_average_and_early_stopping(folder, capsys):
    options = ["--augment", "flip=0.1,shift=1,rotate=5,zoom,noise=0.05", "--ema", "0.98", "--early-stopping", "2"]
    assert main(["train", "digits", *QUICK, "--epochs", "30", *options, "-o", "a"]) == 0
    out = capsys.readouterr().out
    assert "average    of the weights: " in out
    assert load_model_file("a").training["results"]["test"]["accuracy"] > 0.7
    assert main(["train", "digits", *QUICK, "--epochs", "30", *options, "-o", "b"]) == 0
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    assert main(["train", "digits", *QUICK, "--epochs", "30", *options[2:], "-o", "c"]) == 0
    assert (folder / "a").read_bytes() != (folder / "c").read_bytes()


def test_an_ensemble_is_one_model_file(folder, capsys):
    assert main(["train", "digits", *QUICK, "--ensemble", "3", "-o", "m"]) == 0
    out = capsys.readouterr().out
    assert "3 models on bootstrap samples; out of bag: loss" in out
    accuracy = load_model_file("m").training["results"]["test"]["accuracy"]
    assert main(["evaluate", "m", "digits"]) == 0
    assert f"{100 * accuracy:.2f} %" in capsys.readouterr().out


@pytest.mark.parametrize("classify", [True, False])
def test_the_average_model_averages_what_outputs_say(classify):
    """Of classes the probabilities, not the logits: one sure model shall not outvote four."""
    from fastnn import nn
    from fastnn.cli.tune import average_model
    from fastnn.nn import from_config

    models = [nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3), seed=s) for s in range(5)]
    x = 30 * np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    outputs = [model.predict(x).astype(np.float64) for model in models]
    average = average_model(models, np.dtype(np.float32), classify)
    found = average.predict(x).astype(np.float64)
    if classify:
        outputs = [np.exp(z - z.max(axis=1, keepdims=True)) for z in outputs]
        outputs = [p / p.sum(axis=1, keepdims=True) for p in outputs]
        found = np.exp(found)
    np.testing.assert_allclose(found, np.mean(outputs, axis=0), rtol=2e-5, atol=1e-5)
    assert type(from_config(average.to_config())) is type(average)


def test_search_chooses_what_was_not_given(folder, capsys):
    rng = np.random.default_rng(0)
    rows = "".join(f"{a:.3f},{b:.3f},{'xyz'[i % 3]}\n" for i, (a, b) in enumerate(rng.normal(size=(150, 2)) + 1))
    (folder / "t.csv").write_text("a,b,y\n" + rows)
    command = ["train", "t.csv", "--target", "y", "--epochs", "3", "--lr", "0.004", "--search", "4", "--no-plot",
               "--patience", "0", "--resume", "s.json"]  # fmt: skip
    assert main([*command, "-o", "a"]) == 0
    out = capsys.readouterr().out
    assert "4 trials of up to 3 epochs" in out and "width" in out and " lr " not in out
    best = min(json.loads((folder / "s.json").read_text())["trials"], key=lambda trial: trial["score"])
    settings = load_model_file("a").training["settings"]
    assert settings["layers"] == [best["params"]["width"]] * best["params"]["depth"]
    assert settings["batch_size"] == best["params"]["batch_size"]
    history = load_model_file("a").training["history"]["val_loss"]
    for epochs, score in best["curve"]:  # the final training is the winning trial's
        assert history[epochs - 1] == score
    assert main([*command, "-o", "b"]) == 0  # the study is finished: nothing is tried again
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


def test_resume_goes_on_with_the_same_bits(folder, capsys, monkeypatch):
    command = ["train", "digits", *QUICK, "--dropout", "0.2", "--epochs", "6"]
    assert main([*command, "-o", "whole"]) == 0
    from fastnn.training.callbacks import Callback

    made = []

    class Crash(Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 4:
                raise KeyboardInterrupt

    original = recipe.make_callbacks

    def crashing(options, arrays):
        made.append(1)
        return [*original(options, arrays), *([Crash()] if len(made) == 1 else [])]

    monkeypatch.setattr(recipe, "make_callbacks", crashing)
    assert main([*command, "--resume", "c", "-o", "cut"]) == 130
    assert main([*command, "--resume", "c", "-o", "rest"]) == 0
    whole, rest = load_model_file("whole"), load_model_file("rest")
    assert rest.training["history"]["loss"] == whole.training["history"]["loss"]
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(rest.model.state_dict()[name], array)


def test_report_is_one_page_without_a_network(folder, capsys):
    pytest.importorskip("matplotlib")
    assert main(["train", "digits", *QUICK, "--report", "out", "-o", "m"]) == 0
    page = (folder / "out" / "index.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png;base64,") == 2
    for words in ("Results", "Learning curves", "Confusion matrix, test part", "batch-size"):
        assert words in page
    assert "<td>batch-norm</td><td>yes</td>" in page and "encoding" not in page  # as typed; nothing about tables
    accuracy = load_model_file("m").training["results"]["test"]["accuracy"]
    assert f"{100 * accuracy:.2f} %" in page
    assert main(["train", "digits", *QUICK, "--report", "out", "-o", "n"]) == 2
    assert "exists; --force replaces it" in capsys.readouterr().err


def test_lr_find_sets_the_rate(folder, capsys):
    assert main(["train", "digits", *QUICK, "--lr-find", "-o", "m"]) == 0
    rate = float(re.search(r"lr-find    rate (\S+),", capsys.readouterr().out)[1])
    assert load_model_file("m").training["history"]["lr"] == [rate] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--augment", "blur"], "must be some of flip, shift, rotate, zoom, elastic, noise"),
        (["--augment", "flip=2"], "flip=2 is not possible: the number is in probability"),
        (["--schedule", "cos"], "invalid choice: 'cos'"),
        (["--ema", "1"], "must be from 0 to below 1, not '1'"),
        (["--search", "0"], "must be a whole number of at least 1"),
        (["--lr-find", "--lr", "0.1"], "choose one of --lr-find and --lr"),
        (["--lr-find", "--search", "2"], "choose one of --lr-find and --search"),
        (["--ensemble", "2", "--resume", "x"], "--resume is not for --ensemble"),
        (["--search", "2", "--validation-share", "0"], "--search needs a validation part"),
        (["--schedule", "plateau", "--validation-share", "0"], "--schedule plateau needs a validation part"),
        (["--resume", "missing-folder/x"], "there is no folder"),
        (["--search", "2", "--lr", "1", "--layers", "3", "--batch-size", "9", "--dropout", "0", "--weight-decay", "0"],
         "nothing to choose"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_write_nothing(folder, capsys, options, words):
    assert main(["train", "digits", "--epochs", "1", "--no-plot", *options]) == 2
    err = capsys.readouterr().err.strip()
    assert "\n" not in err and words in err
    assert not list(folder.glob("*.safetensors"))


def test_augmentation_is_for_images(folder, capsys):
    (folder / "t.csv").write_text("a,b,y\n" + "1,2,x\n3,1,z\n" * 20)
    assert main(["train", "t.csv", "--target", "y", "--augment", "flip"]) == 2
    assert "--augment is for images; a table has none" in capsys.readouterr().err


def test_selftest_passes_here_and_notices_what_is_wrong(folder, capsys, monkeypatch):
    import fastnn
    from fastnn import kernels

    assert main(["selftest"]) == 0
    out = capsys.readouterr().out
    assert "FAILED" not in out and all(f"products, {name}" in out for name in fastnn.available_isas())
    right = kernels.linear
    monkeypatch.setattr(kernels, "linear", lambda x, w, b: right(x, w, b) * 1.00001)
    assert main(["selftest"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILED  products") == len(fastnn.available_isas()) and "ok      training" in out


@pytest.mark.parametrize("rate", [1e-3, 0.3])
def test_of_average_and_last_weights_the_best_are_kept(rate):
    """Three candidates: the last weights, the averaged ones, and these with batch norm measured again."""
    from helpers.training import blobs, trainer

    from fastnn import nn

    x, y = blobs(300)
    t = trainer(nn.BatchNorm1d(16), ema=0.9)
    t.optimizer.lr = rate
    t.fit(x[:200], y[:200], epochs=3, batch_size=50, progress=False)
    last, validation = t.model.state_dict(), (x[200:], y[200:])
    losses = [t.evaluate(*validation)["loss"]]
    t.model.load_state_dict(t.averaged_state_dict())
    losses.append(t.evaluate(*validation)["loss"])
    nn.estimate_population(t.model, x[:200])
    losses.append(t.evaluate(*validation)["loss"])
    t.model.load_state_dict(last)
    callback = recipe.KeepBetterAverage(x[:200], validation)
    callback.trainer = t
    callback.on_fit_end()
    assert len(set(losses)) == 3
    assert t.evaluate(*validation)["loss"] == min(losses)
    assert callback.kept == (min(losses) != losses[0])
