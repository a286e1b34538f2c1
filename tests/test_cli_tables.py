"""Tables on the command line: predictors, wild values, metrics, kept columns, standard input, refits, cards."""

import csv
import io
import re
import sys

import numpy as np
import pytest

import fastnn
from fastnn.cli import main
from fastnn.data.clip import SmoothClip
from fastnn.io import TablePredictor, load_model_file

QUICK = ["--layers", "16", "--no-plot", "-o", "m"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shop(rows=400, seed=0):
    """Text of a table with every kind of column; the target follows age and city."""
    rng = np.random.default_rng(seed)
    lines = ["id,age,city,joined,member,buys"]
    for i in range(rows):
        age, city = int(rng.integers(18, 80)), rng.choice(["Rome", "Oslo", "Bern"])
        wants = age + 25 * (city == "Rome") + rng.normal(0, 4) > 55
        age, wants = age if i % 19 else "", "yes" if wants else "no"
        lines.append(f"{i},{age},{city},2020-{1 + i % 12:02d}-01,{i % 2 == 0},{wants}")
    return "\n".join(lines) + "\n"


def straight(rows=600, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    return x, 100 + x @ np.array([30.0, -20.0, 10.0]) + rng.normal(size=rows)


def write(name, x, y):
    np.savetxt(name, np.column_stack([x, y]), delimiter=",", header="a,b,c,y", comments="", fmt="%.9g")


def scores(text, part):
    """The numbers of a line of the table of results."""
    line = next(line for line in text.splitlines() if line.startswith(part))
    return [float(number.replace(",", "")) for number in re.findall(r"-?[\d,]+\.?\d*", line)]


# ---- what load gives


def test_a_loaded_table_model_predicts_raw_rows_of_any_form(folder, capsys):
    (folder / "shop.csv").write_text(shop())
    assert main(["train", "shop.csv", "--target", "buys", *QUICK, "--epochs", "30"]) == 0
    predictor = fastnn.load("m")
    assert isinstance(predictor, TablePredictor) and predictor.classes_.tolist() == ["no", "yes"]
    answers = predictor.predict("shop.csv")
    truth = [row["buys"] for row in csv.DictReader(io.StringIO(shop()))]
    assert np.mean(answers == truth) > 0.85 and len(answers) == 400
    probabilities = predictor.predict_proba("shop.csv")
    assert probabilities.shape == (400, 2) and np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == (answers == "yes")).all()
    assert main(["predict", "m", "shop.csv", "-o", "p.csv"]) == 0
    assert (folder / "p.csv").read_text().split()[1:] == answers.tolist()
    columns = {name: list(cells) for name, *cells in zip(*(line.split(",") for line in shop().split()))}
    del columns["buys"], columns["id"]
    assert (predictor.predict(columns) == answers).all()
    fastnn.save(predictor, "copy")
    assert (fastnn.load("copy").predict("shop.csv") == answers).all()
    with pytest.raises(ValueError, match="lacks the column 'city'"):
        predictor.predict({name: cells for name, cells in columns.items() if name != "city"})


@pytest.mark.parametrize(
    ("words", "labels"),
    [(("3", "7"), [3, 7]), (("0.5", "2"), [0.5, 2.0]), (("False", "True"), [False, True])],
)
def test_labels_come_out_as_what_they_are(folder, words, labels):
    (folder / "t.csv").write_text("a,y\n" + "".join(f"{i},{words[i > 30]}\n" for i in range(60)))
    command = ["train", "t.csv", "--target", "y", "--task", "classification", *QUICK, "--epochs", "3"]
    assert main(command) == 0
    predictor = fastnn.load("m")
    assert predictor.classes_.tolist() == labels and predictor.classes_.dtype == np.array(labels).dtype


def test_a_loaded_regression_gives_numbers_in_their_units(folder):
    x, y = straight()
    write("t.csv", x, y)
    assert main(["train", "t.csv", "--target", "y", *QUICK, "--epochs", "60", "--lr", "0.01"]) == 0
    predictor = fastnn.load("m")
    assert np.sqrt(np.mean((predictor.predict({"c": x[:, 2], "b": x[:, 1], "a": x[:, 0]}) - y) ** 2)) < 3
    with pytest.raises(ValueError, match="no probabilities"):
        predictor.predict_proba("t.csv")


# ---- wild values


def test_one_wild_row_ruins_neither_feature_nor_target(folder, capsys):
    x, y = straight()
    x[5, 0], y[9] = 1e9, 1e8
    write("t.csv", x, y)
    command = ["train", "t.csv", "--target", "y", *QUICK, "--epochs", "40", "--lr", "0.01"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "pulled in smoothly: 'a' 1, 'y' 1 (--no-clip leaves them)" in out
    assert scores(out, "test")[-1] > 0.95
    assert main([*command, "--no-clip", "--force"]) == 0
    assert scores(capsys.readouterr().out, "test")[-1] < 0.9


def test_a_clip_is_smooth_increasing_and_leaves_the_bulk_alone():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=1000), np.where(np.arange(1000) < 5, 7.0, 0.0), np.ones(1000)])
    x[0, 0] = 1e12
    clip = SmoothClip.fit(x)
    z = clip.apply(x)
    assert (z[1:, 0] == x[1:, 0]).all() and z[0, 0] <= clip.center[0] + clip.bound[0] < 20
    assert clip.bound[2] == np.inf and clip.beyond.tolist()[0] == 1
    line = np.linspace(-50, 50, 2001)[:, None] * [1, 0, 0]
    bent = clip.apply(line)[:, 0]
    steps = np.diff(bent)
    assert (steps >= 0).all() and np.abs(np.diff(steps)).max() < 2e-3
    back = clip.inverse(np.column_stack([bent, line[:, 1:]]))[:, 0]
    inside = np.abs(bent - clip.center[0]) < 0.98 * clip.bound[0]
    lowest = min(clip.low[0], clip.center[0] - clip.bound[0] / 2)
    np.testing.assert_allclose(back[inside], np.maximum(line[inside, 0], lowest), atol=1e-6)
    assert (np.diff(back) >= 0).all() and back[-1] <= clip.high[0]
    again = SmoothClip.from_dict(clip.to_dict())
    assert (again.apply(x) == z).all()
    for change in ({"bound": [0.0, 1.0, 1.0]}, {"center": [1.0]}, {"low": None}, {"high": [float("nan")] * 3}):
        with pytest.raises(ValueError, match="not the description of a clip"):
            SmoothClip.from_dict({**clip.to_dict(), **change})


def test_parts_that_disagree_far_beyond_noise_are_warned_about(folder, capsys):
    x, y = straight()
    write("t.csv", x, y)
    command = ["train", "t.csv", "--target", "y", *QUICK, "--epochs", "40", "--lr", "0.01"]
    assert main(command) == 0
    assert "warning" not in capsys.readouterr().out
    _, _, test = fastnn.data.split_indices(len(x), sizes=(0.6, 0.2, 0.2), seed=0)
    y[test[3]] = 900.0
    write("t.csv", x, y)
    assert main([*command, "--force"]) == 0
    out = capsys.readouterr().out
    words = r"warning    validation RMSE \S+ and test RMSE \S+ differ far beyond noise: 1 of 120 test rows"
    assert re.search(words, out)


# ---- metrics, weights, losses


def test_metrics_that_are_asked_for_are_measured(folder, capsys):
    (folder / "shop.csv").write_text(shop())
    more = ["--metric", "recall", "--metric", "log loss", "--metric", "balanced-accuracy"]
    assert main(["train", "shop.csv", "--target", "buys", *QUICK, "--epochs", "20", *more]) == 0
    out = capsys.readouterr().out
    assert re.search(r"rows +loss +accuracy +AUC +F1 +recall +log loss +balanced", out)
    metrics = pytest.importorskip("sklearn.metrics")
    truth = np.array([row["buys"] == "yes" for row in csv.DictReader(io.StringIO(shop()))])
    predictor = fastnn.load("m")
    chance, said = predictor.predict_proba("shop.csv")[:, 1], predictor.predict("shop.csv") == "yes"
    assert main(["evaluate", "m", "shop.csv", *more]) == 0
    found = scores(capsys.readouterr().out, "shop.csv")
    expected = [400, metrics.log_loss(truth, chance), 100 * metrics.accuracy_score(truth, said),
                metrics.roc_auc_score(truth, chance), metrics.f1_score(truth, said), metrics.recall_score(truth, said),
                metrics.log_loss(truth, chance), 100 * metrics.balanced_accuracy_score(truth, said)]  # fmt: skip
    assert found == pytest.approx(expected, abs=6e-3)
    assert main(["evaluate", "m", "shop.csv", "--metric", "r2"]) == 2
    assert "--metric 'r2' is not for a classification; choose one of accuracy" in capsys.readouterr().err


def test_balanced_class_weights_find_the_rare_class(folder, capsys):
    rng = np.random.default_rng(0)
    y = rng.random(900) < 0.06
    x = rng.normal(size=900) + 1.5 * y
    (folder / "t.csv").write_text("a,y\n" + "".join(f"{a:.4f},{b}\n" for a, b in zip(x, y)))
    command = ["train", "t.csv", "--target", "y", *QUICK, "--epochs", "15", "--metric", "recall", "--force"]
    assert main(command) == 0
    plain = scores(capsys.readouterr().out, "training")[-1]
    assert main([*command, "--class-weight", "balanced"]) == 0
    assert scores(capsys.readouterr().out, "training")[-1] > plain + 0.3


@pytest.mark.parametrize(
    ("loss", "task"), [("focal", "classification"), ("mae", "regression"), ("huber", "regression")]
)
def test_losses_by_name(folder, capsys, loss, task):
    x, y = straight(200)
    write("t.csv", x, y if task == "regression" else y > 100)
    assert main(["train", "t.csv", "--target", "y", *QUICK, "--epochs", "20", "--lr", "0.01", "--loss", loss]) == 0
    predictor = fastnn.load("m")
    assert type(predictor.preprocessing.meaning()).__name__ == {"focal": "FocalLoss", "mae": "L1Loss",
                                                                "huber": "HuberLoss"}[loss]  # fmt: skip
    assert main(["train", "t.csv", "--target", "y", "--loss", "hinge"]) == 2
    assert f"--loss 'hinge' is not for a {task}; choose one of" in capsys.readouterr().err


# ---- predictions


def test_kept_columns_standard_input_and_a_row_for_every_record(folder, capsys, monkeypatch):
    (folder / "shop.csv").write_text(shop(120))
    assert main(["train", "shop.csv", "--target", "buys", *QUICK, "--epochs", "2"]) == 0
    text = "id,age,city,joined,member\n007,40,Rome,2020-01-01,True\n,,,,\nx9,50,Paris,2020-02-01,False\n"

    class Input:
        buffer = io.BytesIO(text.encode())

    monkeypatch.setattr(sys, "stdin", Input)
    capsys.readouterr()
    assert main(["predict", "m", "-", "--keep", "id", "--keep", "city"]) == 0
    printed = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(printed.out)))
    assert rows[0] == ["id", "city", "prediction"] and [row[:2] for row in rows[1:]] == [["007", "Rome"], ["", ""],
                                                                                        ["x9", "Paris"]]  # fmt: skip
    assert all(row[2] in ("yes", "no") for row in rows[1:])
    assert "'city': 1 rows hold a category that the model has not seen: 'Paris'" in printed.err
    Input.buffer = io.BytesIO(shop(60).encode())
    assert main(["train", "-", "--target", "buys", "--layers", "4", "--epochs", "1", "--no-plot"]) == 0
    assert "data       standard input: 60 rows" in capsys.readouterr().out and (folder / "model.safetensors").exists()
    Input.buffer = io.BytesIO(b"a,b\n1,2\n3\n")
    assert main(["train", "-", "--target", "b"]) == 2
    assert "standard input line 3: 1 cells" in capsys.readouterr().err


def test_an_unseen_category_changes_nothing(folder):
    (folder / "shop.csv").write_text(shop())
    assert main(["train", "shop.csv", "--target", "buys", *QUICK, "--epochs", "5"]) == 0
    predictor = fastnn.load("m")
    place = predictor.schema.feature_names.index("city=<unseen>")
    assert not predictor.model[0].weight.numpy()[:, place].any()


# ---- refit, card, resume


def test_a_refit_trains_on_all_rows_and_says_so(folder, capsys):
    (folder / "shop.csv").write_text(shop())
    command = ["train", "shop.csv", "--target", "buys", *QUICK, "--epochs", "12"]
    assert main([*command, "--refit"]) == 0
    out = capsys.readouterr().out
    epochs = int(re.search(r"refit      on all 400 rows for (\d+) epochs; the scores above .* trained on 240", out)[1])
    file = load_model_file("m")
    assert file.training["refit"] == epochs == file.training["best_epoch"]
    assert main(["info", "m"]) == 0
    card = capsys.readouterr().out
    for words in ("answers    one of 2 classes: no, yes", "target     'buys'", "'id': an identifier, left out",
                  "'city': 3 categories", f"refitted on all of them for {epochs} epochs", "lr 0.001", "best epoch",
                  "Linear(11, 16)"):  # fmt: skip
        assert words in card
    assert main([*command, "--force"]) == 0
    first, second = load_model_file("m").model.state_dict(), file.model.state_dict()
    assert any((first[name] != second[name]).any() for name in first)


def test_resume_names_what_differs(folder, capsys):
    x, y = straight(200)
    write("t.csv", x, y)
    write("other.csv", x + 0.5, y)
    command = ["--target", "y", *QUICK, "--force", "--resume", "run.ckpt"]
    assert main(["train", "t.csv", *command, "--epochs", "3"]) == 0
    assert main(["train", "t.csv", *command, "--epochs", "5"]) == 0  # more epochs are a continuation
    capsys.readouterr()
    for data, more, words in (("other.csv", [], "the data hold other values"),
                              ("t.csv", ["--lr", "0.5"], "--lr was 0.001 and is 0.5"),
                              ("t.csv", ["--layers", "8,4"], "--layers was 16 and is 8,4")):  # fmt: skip
        assert main(["train", data, *command, "--epochs", "5", *more]) == 2
        assert f"run.ckpt is of another run: {words}" in capsys.readouterr().err
    (folder / "wide.csv").write_text("a,b,c,d,y\n" + "".join(f"1,2,3,{i},{i}.5\n" for i in range(200)))
    assert main(["train", "wide.csv", *command, "--epochs", "5"]) == 2
    assert "the data have other features" in capsys.readouterr().err


def test_help_shows_what_most_people_need(capsys):
    assert main(["train", "--help"]) == 0
    short = capsys.readouterr().out
    options = set(re.findall(r"^  (?:-\w(?: FILE)?, )?(--[\w-]+)", short, re.MULTILINE))
    assert len(options - {"--help", "--help-all"}) == 12 and "--target" in options
    assert main(["train", "--help-all"]) == 0
    full = capsys.readouterr().out
    assert "--class-weight" in full and "--class-weight" not in short and len(full) > 2 * len(short)


def test_the_report_has_what_a_reader_asks_for(folder):
    pytest.importorskip("matplotlib")
    (folder / "shop.csv").write_text(shop(200))
    assert main(["train", "shop.csv", "--target", "buys", *QUICK, "--epochs", "3", "--report", "out"]) == 0
    page = (folder / "out" / "index.html").read_text()
    for words in ("<td>seed</td><td>0</td>", "<td>best epoch</td><td>", "<td>learning rate</td><td>0.001</td>",
                  f"<td>fastnn</td><td>{fastnn.__version__}</td>", "<td>date</td><td>20", "Class balance", "ROC curve",
                  "<td>city</td><td>3 categories</td>"):  # fmt: skip
        assert words in page
    x, y = straight(120)
    write("t.csv", x, y)
    assert main(["train", "t.csv", "--target", "y", *QUICK, "--epochs", "3", "--report", "out", "--force"]) == 0
    assert "Predicted against true, test part" in (folder / "out" / "index.html").read_text()


def test_errors_spell_options_as_they_are_typed(folder, capsys):
    (folder / "shop.csv").write_text(shop(60))
    (folder / "years.csv").write_text("2019,2020\n" + "".join(f"{i},{i / 3}\n" for i in range(30)))
    (folder / "comma.csv").write_text("a;y\n" + "".join(f"{i},5;{i % 2}\n" for i in range(30)))
    for command, words in (("shop.csv --target buys --missing error", "choose --missing drop"),
                           ("comma.csv --target y", "to read decimal commas: fastnn train comma.csv --target y --dec"),
                           ("shop.csv --target buys --delimiter ab", "--delimiter must be one character"),
                           ("shop.csv --target buys --type city=date", "column 'city' is to be date, but holds")):
        assert main(["train", *command.split()]) == 2
        assert words in capsys.readouterr().err
    assert main(["train", "years.csv", "--target", "-1", *QUICK, "--epochs", "1"]) == 0
    assert "(--no-header: it is data)" in capsys.readouterr().out


def test_a_parquet_file_trains_and_predicts(folder, capsys):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    (folder / "shop.csv").write_text(shop(200))
    frame = pandas.read_csv("shop.csv", parse_dates=["joined"])
    frame.to_parquet("shop.parquet")
    for data in ("shop.csv", "shop.parquet"):
        command = ["train", data, "--target", "buys", "--layers", "8", "--epochs", "2", "--no-plot", "-o", data[5:]]
        assert main(command) == 0
    one, two = load_model_file("csv").model.state_dict(), load_model_file("parquet").model.state_dict()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert (fastnn.load("csv").predict(frame) == fastnn.load("parquet").predict("shop.parquet")).all()
