"""What is shipped: import time and laziness, exported symbols, hardening, size, metadata, the README's commands."""

import importlib.metadata
import re
import shutil
import statistics
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import _native

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(_native.__file__)
linux_elf = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("readelf") is None, reason="needs Linux and binutils"
)


def python(code):
    """The output of ``code`` in a fresh interpreter that does not see the source tree."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=BINARY.anchor, timeout=60
    ).stdout


def tool(*command):
    return subprocess.run([*command, str(BINARY)], capture_output=True, text=True, check=True).stdout


# ---- import -----------------------------------------------------------------------------------------------------


def test_import_adds_less_than_30_ms_to_numpy():
    code = "import numpy, time; t = time.perf_counter(); import fastnn; print(time.perf_counter() - t)"
    seconds = [float(python(code)) for _ in range(3)]
    assert min(seconds) < 0.030, f"import fastnn takes {statistics.median(seconds) * 1e3:.0f} ms"


def loaded_by(statement):
    return set(python(f"import sys; {statement}; print(*sys.modules)").split())


def test_import_loads_nothing_that_is_used_later():
    optional = {"tqdm", "safetensors", "matplotlib", "sklearn", "onnx", "scipy", "pandas", "torch"}
    for statement in ("import fastnn", "from fastnn import kernels, nn, optim, Trainer"):
        assert not optional & loaded_by(statement), statement


def test_kernels_import_no_room_above_them():
    above = ("functional", "graph", "nn", "optim", "training", "data", "io", "cli", "sklearn")
    modules = loaded_by("import fastnn.kernels")
    assert "fastnn.kernels" in modules
    assert not {f"fastnn.{room}" for room in above} & modules


@pytest.mark.parametrize("room", ["nn", "optim", "training", "data"])
def test_every_name_works_as_the_first_one_used(room):
    """Names are imported on first use: none may rely on another one having been used before."""
    python(
        f"import sys, importlib\n"
        f"for name in [n for n in dir(importlib.import_module('fastnn.{room}')) if not n.startswith('_')]:\n"
        f"    for module in [m for m in sys.modules if (m + '.').startswith('fastnn.{room}.')]:\n"
        f"        del sys.modules[module]\n"
        f"    getattr(importlib.import_module('fastnn.{room}'), name)\n"
    )


def test_every_public_name_exists():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        fastnn.no_such_name  # noqa: B018  # the lookup is the test


def test_import_leaves_floating_point_mode_alone():
    """Fast-math objects switch denormals off in the whole process when they are loaded."""
    code = "import numpy as np, fastnn._native; print(np.float32(1e-40) * np.float32(1) > 0)"
    assert python(code).strip() == "True"


# ---- the binary -------------------------------------------------------------------------------------------------


@linux_elf
def test_exports_only_fnn_symbols_and_the_module_init():
    lines = tool("readelf", "--dyn-syms", "--wide").splitlines()
    fields = [line.split() for line in lines if re.match(r"\s+\d+:", line)]
    exported = {f[7].split("@")[0] for f in fields if len(f) > 7 and f[4] in ("GLOBAL", "WEAK") and f[6] != "UND"}
    assert "PyInit__native" in exported
    linker = {"_init", "_fini", "_edata", "_end", "__bss_start"}
    others = {name for name in exported - linker if not name.startswith("fnn_")} - {"PyInit__native"}
    assert not others


@linux_elf
def test_binary_is_hardened():
    segments, dynamic = tool("readelf", "--segments", "--wide"), tool("readelf", "--dynamic", "--wide")
    assert "GNU_RELRO" in segments
    stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
    assert "RWE" not in stack, "executable stack"
    assert "BIND_NOW" in dynamic or re.search(r"FLAGS_1.*\bNOW\b", dynamic)
    assert "TEXTREL" not in dynamic


@linux_elf
def test_binary_needs_only_system_libraries():
    needed = re.findall(r"Shared library: \[(.*?)\]", tool("readelf", "--dynamic", "--wide"))
    allowed = ("libc.", "libm.", "libgomp.", "libomp.", "libiomp5.", "libpthread.", "ld-linux", "libgcc_s.", "libdl.")
    assert not [name for name in needed if not name.startswith(allowed)]


def test_compressed_package_is_below_3_mb():
    package = Path(fastnn.__file__).parent
    files = [
        path for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".pyx", ".pxi", ".c") and path != BINARY
    ]  # fmt: skip
    size = sum(len(zlib.compress(path.read_bytes(), 6)) for path in [*files, BINARY])
    assert size < 3_000_000, f"about {size / 1e6:.1f} MB"


# ---- metadata and files -----------------------------------------------------------------------------------------


def test_version_and_dependencies():
    assert importlib.metadata.version("fastnn-cpu") == fastnn.__version__
    requires = importlib.metadata.requires("fastnn-cpu")
    runtime = {re.match(r"[\w.-]+", text)[0].lower() for text in requires if "extra ==" not in text}
    assert runtime == {"numpy", "tqdm", "safetensors"}
    assert not [text for text in requires if text.lower().startswith(("torch", "jax", "tensorflow"))]


def test_readme_has_exactly_two_set_up_commands():
    lines = [line.strip() for line in (ROOT / "README.md").read_text().splitlines()]
    commands = [line for line in lines if line.startswith("python3 -m venv")]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/fastnn train digits",
        'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest tests',
    ]


def test_readme_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    exec(blocks[0], {})
    assert "accuracy" in capsys.readouterr().out
    assert (tmp_path / "digits.safetensors").exists()
    values = {"x": (4, 3), "weight": (2, 3), "bias": (2,), "y": (4, 2), "grad": (4, 2)}
    values |= dict.fromkeys(("param", "exp_avg", "exp_avg_sq"), (5,))
    names = {name: np.ones(shape, np.float32) for name, shape in values.items()}
    exec(blocks[1].replace("kernels.adam(param, grad,", "kernels.adam(param, param.copy(),"), names)
    assert (names["y"] == 4).all() and (names["dweight"] == 4).all() and (names["param"] < 1).all()


def test_documents_link_to_files_that_exist():
    missing = []
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)  # model[0](x) is no link
        for target in re.findall(r"\]\(([^)#]+)", text):
            if "://" not in target and not (document.parent / target).exists():
                missing.append(f"{document.name}: {target}")
    assert not missing


def test_no_flag_that_changes_arithmetic():
    """The build never asks for fast-math or for the build machine's own processor."""
    forbidden = re.compile(r"-ffast-math|-Ofast|-funsafe-math|-march=native|-ffinite-math")
    build = [ROOT / "setup.py", ROOT / "pyproject.toml", *(ROOT / "src_c").rglob("*.[ch]")]
    assert not [str(path) for path in build if forbidden.search(path.read_text())]
