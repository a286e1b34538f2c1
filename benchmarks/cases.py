"""Every benchmark case, as plain dictionaries that a peer in another process understands.

A case has a ``kind`` (which factory of a peer builds it), a ``name`` (the op's, so that case names equal op names) and
sizes. ``op_cases`` has one case per row of the native lists and per op, built from the lists themselves: a new row has
a case without an edit here. ``suites`` has what the report measures. ``work`` says what a case costs.

To add a case: add a dictionary to a suite. To add a kind: a branch in ``work`` and a factory of that name in the peers
that have it (a peer without the factory is left out of the row).
"""

import itertools

ROWS, COLS = 1024, 512

#: rows x in x out of the products that the report measures
PRODUCTS = (
    (1, 784, 256), (4, 256, 256), (8, 784, 256), (16, 256, 256), (32, 30, 64), (64, 784, 256), (100, 333, 77),
    (128, 256, 128), (128, 1024, 1024), (256, 1024, 10), (512, 512, 512), (1024, 1024, 1024), (4096, 784, 1024),
)  # fmt: skip
PRODUCT_KINDS = ("linear", "linear_plain", "layer", "matmul", "linear_backward")

#: rows x columns of the normalisations: in L2, in L3, beyond
MATRICES = ((64, 256), (256, 1024), (4096, 1024))

#: layers and batch of the training steps
NETS = (
    ((30, 64, 32, 2), 32),
    ((64, 128, 10), 64),
    ((784, 256, 128, 10), 64),
    ((784, 1024, 1024, 1024, 10), 128),
)


def list_names(which):
    """Names of the rows of a native list: activations, elementwise, binary, losses or optimizers."""
    from fastnn import _native

    return [row["name"] for row in _native.list_rows(which)]


def list_row(which, name):
    from fastnn import _native

    return next(row for row in _native.list_rows(which) if row["name"] == name)


def matrix(kind, name=None, rows=ROWS, cols=COLS, **more):
    return {"kind": kind, "name": name or kind, "rows": rows, "cols": cols, "dtype": "float32", **more}


def product(rows, in_features, out_features, kind="linear", **more):
    sizes = {"rows": rows, "in": in_features, "out": out_features, "dtype": "float32"}
    relu = kind in ("linear", "linear_plain", "layer")
    return {"kind": kind, "name": kind, **sizes, "activation": "relu" if relu else None, **more}


def images(name, count=6000, size=28):
    return {"kind": "augment", "name": name, "images": count, "size": size, "dtype": "float32"}


def optimizer(name, n):
    return {"kind": "optimizer", "name": name, "n": n, "dtype": "float32"}


#: states that the default options need, where they are fewer than the row's
OPTIMIZER_STATES = {"rmsprop": 1, "adam": 2, "adamw": 2}


def optimizer_states(name):
    """How many state arrays a case of this optimizer has (sgd: with momentum)."""
    return OPTIMIZER_STATES.get(name, len(list_row("optimizers", name)["states"]))


def network(kind, layers, batch, *, dropout=0.0, batch_norm=False, **more):
    net = {"layers": list(layers), "batch": batch, "dropout": dropout, "batch_norm": batch_norm}
    # A step is repeated on one batch thousands of times. At Adam's usual rate it would be learnt by heart, and the
    # vanishing gradients' denormals would slow some libraries down as no real training does.
    net["lr"] = 1e-6 if kind == "train_step" else 1e-3
    return {"kind": kind, "name": kind, "dtype": "float32", **net, **more}


def op_cases():
    """One small case per row of the lists and per op: what ``pytest benchmarks/`` times against NumPy."""
    cases = [product(128, 784, 256, kind) for kind in ("matmul", "linear", "linear_plain", "linear_backward")]
    for name in list_names("activations"):
        cases += [matrix("unary", name), matrix("unary_backward", name)]
    cases += [matrix("unary", name) for name in list_names("elementwise")]
    cases += [matrix("binary", name) for name in list_names("binary")]
    cases += [matrix("softmax", name) for name in ("softmax", "log_softmax")]
    cases += [matrix(kind) for kind in ("batch_norm", "batch_norm_inference", "batch_norm_backward")]
    cases += [matrix(kind) for kind in ("layer_norm", "layer_norm_backward", "gaussian_noise")]
    cases += [matrix(kind, p=0.2) for kind in ("dropout", "dropout_backward", "alpha_dropout")]
    cases += [matrix("cross_entropy"), *(matrix("pointwise_loss", name) for name in list_names("losses"))]
    cases += [optimizer(name, 1 << 18) for name in list_names("optimizers")]
    cases += [network("train_step", *NETS[2]), network("predict", *NETS[2])]
    return cases


def case_names():
    """Names of the cases of ``op_cases``; a backward case has its forward op's name with ``_backward``."""
    return [case_name(case) for case in op_cases()]


def case_name(case):
    return case["name"] + ("_backward" if case["kind"] in ("unary_backward", "softmax_backward") else "")


def suites(fashion_dir=None):
    """What the report measures: dictionaries of ``key``, ``title``, ``unit``, ``note`` and ``cases``."""
    memory = [matrix("unary", name, 4096, 1024) for name in ("relu", "sigmoid", "tanh")]
    memory += [matrix("softmax", "softmax", 4096, 1000), matrix("dropout", rows=4096, cols=1024, p=0.2)]
    norms = ("batch_norm", "batch_norm_backward", "layer_norm", "layer_norm_backward")
    memory += [matrix(kind, rows=rows, cols=cols) for kind in norms for rows, cols in MATRICES]
    memory += [matrix("alpha_dropout", rows=4096, cols=1024, p=0.2), matrix("gaussian_noise", rows=4096, cols=1024)]
    losses = [matrix("cross_entropy", rows=rows, cols=cols) for cols in (10, 1000) for rows in (64, 256, 4096)]
    losses += [matrix("pointwise_loss", name, *size) for name in list_names("losses") for size in MATRICES]
    counts = (10_000, 1_000_000, 25_000_000)
    updates = [optimizer(name, n) for name in list_names("optimizers") for n in counts]
    element = [matrix("unary", name, 256, 1024) for name in ("elu", "gelu", "silu")]
    element += [matrix("unary_backward", name, 256, 1024) for name in ("relu", "elu", "gelu", "silu", "tanh")]
    element += [matrix("unary", name, 256, 1024) for name in ("exp", "log", "sqrt", "power")]
    element += [matrix("binary", name, 256, 1024) for name in ("add", "multiply", "maximum")]
    element += [matrix("where", rows=256, cols=1024), matrix("softmax_backward", "softmax", 256, 1024)]
    element += [matrix("reduce", name, 256, 1024, axis=axis) for name in ("sum", "max") for axis in (0, 1)]
    steps = [network("train_step", layers, batch) for layers, batch in NETS]
    steps += [network("train_step", *NETS[2], dropout=0.2, batch_norm=True)]
    steps += [network("train_step", NETS[2][0], 256, dropout=0.2, batch_norm=True)]
    steps += [network("train_step", *NETS[3], dropout=0.5)]
    steps += [network("train_step", (1024, 4096, 4096, 1000), 512, batch_norm=True)]
    steps += [network("train_step", (*[128] * 13, 5), 128, batch_norm=True)]
    backward = [(64, 784, 256), (64, 256, 128), (128, 1024, 1024), (512, 512, 512)]
    table = [
        {
            "key": "products",
            "title": "Products",
            "unit": "GFLOP/s",
            "note": "relu(x @ w.T + b) of plain arrays, rows x in x out, the weights C-contiguous (out, in): whatever "
            "packing a library wants is part of the call. `kernels.linear`; NumPy also with OpenBLAS told to use its "
            "AVX-512 kernels (`OPENBLAS_CORETYPE=SkylakeX`); PyTorch `F.linear` and `relu_`; JAX one jitted function.",
            "cases": [product(*size, kind="linear_plain") for size in PRODUCTS],
        },
        {
            "key": "layers",
            "title": "Compiled layer",
            "unit": "GFLOP/s",
            "note": "The same layer as a model, rows x in x out, weights laid out ahead: `predict(x, out=y)` of "
            "`nn.Sequential(nn.Linear, nn.ReLU)`; ONNX Runtime with initializers, with or without bound buffers, "
            "whichever is quicker.",
            "cases": [product(*size, kind="layer") for size in PRODUCTS],
        },
        {
            "key": "backward",
            "title": "Backward products",
            "unit": "GFLOP/s",
            "note": "dx, dw and db of a linear layer, rows x in x out.",
            "cases": [product(*size, kind="linear_backward") for size in backward],
        },
        {
            "key": "steps",
            "title": "Training step",
            "unit": "us",
            "note": "Forward, cross-entropy, backward and Adam on one batch, ReLU between layers, the loss read as a "
            "Python number: fastnn `Trainer.train_step`, PyTorch eager with `Adam(fused=True)`, JAX one jitted "
            "function with donated state, scikit-learn `MLPClassifier.partial_fit` (plain layers only).",
            "cases": steps,
        },
        {
            "key": "prediction",
            "title": "Prediction",
            "unit": "us",
            "note": "784-256-128-10, ReLU between layers, logits of one batch from and to NumPy or the library's own "
            "arrays, whichever is quicker for it.",
            "cases": [network("predict", NETS[2][0], batch) for batch in (1, 8, 64, 1024)],
        },
        {
            "key": "memory",
            "title": "Memory-bound kernels",
            "unit": "GB/s",
            "note": "Bytes that the operation must move (each operand once), per second, at the stated size.",
            "cases": memory,
        },
        {
            "key": "augmentation",
            "title": "Augmentation",
            "unit": "us",
            "note": "Images of 28x28 float32, each with a transformation of its own, bilinear: `kernels.affine` with "
            "given angles, shifts and magnifications, `kernels.elastic` with random displacements (deviation 4, "
            "34 pixels). SciPy: `ndimage.affine_transform`, `gaussian_filter` and `map_coordinates` image by image.",
            "cases": [images(name) for name in ("affine", "elastic")],
        },
        {
            "key": "losses",
            "title": "Losses with their gradients",
            "unit": "us",
            "note": "The mean over the batch as a Python number and the gradient with respect to the prediction: "
            "fastnn and NumPy into an array that is there; PyTorch by `backward()`; JAX one jitted `value_and_grad`.",
            "cases": losses,
        },
        {
            "key": "optimizers",
            "title": "Optimizer steps",
            "unit": "us",
            "note": "One step over one parameter of so many elements, in place: fastnn `kernels`, PyTorch "
            "`torch.optim` with `fused=True` where it has it, else `foreach=True`, JAX one jitted function with "
            "donated state. The share is of the triad's bandwidth; what limits a step in cache: docs/kernels.md, "
            "Optimizers.",
            "cases": updates,
        },
        {
            "key": "elementwise",
            "title": "Element by element",
            "unit": "GB/s",
            "note": "As above, at a size that lies in the caches; derivatives from the forward output where a library "
            "has them, every result into an array that is there where it can be.",
            "cases": element,
        },
    ]
    if fashion_dir:
        run = {"epochs": 10, "folder": str(fashion_dir)}
        regular = {"dropout": 0.2, "batch_norm": True}
        fits = [network("fit", NETS[2][0], 128, **regular, seed=seed, **run) for seed in (0, 1, 2)]
        table.append(
            {
                "key": "fashion",
                "title": "Fashion-MNIST",
                "unit": "fit",
                "note": "784-256-128-10, batch norm, ReLU, dropout 0.2, Adam (1e-3), batch 128, 10 epochs on the "
                "60,000 training images; pixels divided by 255; seconds of training (JAX: its compilation included) "
                "and accuracy on the 10,000 test images, mean over the seeds.",
                "cases": fits,
            }
        )
    return table


def layer_products(case):
    """(in, out) of each linear layer of a network case."""
    return list(zip(case["layers"][:-1], case["layers"][1:], strict=True))


# Reals read plus reals written per element of the rows x cols matrix (labels and per-column vectors do not count).
ELEMENT_PASSES = {
    "unary": 2, "unary_backward": 3, "binary": 3, "softmax": 2, "dropout": 2, "dropout_backward": 2, "batch_norm": 2,
    "batch_norm_inference": 2, "batch_norm_backward": 3, "layer_norm": 2, "layer_norm_backward": 3,
    "alpha_dropout": 2, "gaussian_noise": 2, "cross_entropy": 2, "pointwise_loss": 3, "where": 3.25,
    "concatenate": 4, "reduce": 1, "softmax_backward": 3,
}  # fmt: skip


def work(case):
    """``(flops, bytes, working set)`` of one call.

    Multiply-adds of products count two. Bytes are reads plus writes, each operand once; the working set counts an array
    that is read and written once. A training step has no bytes: its limit here is arithmetic alone.
    """
    item = 8 if case.get("dtype") == "float64" else 4
    kind = case["kind"]
    if kind in PRODUCT_KINDS:
        rows, depth, cols = case["rows"], case["in"], case["out"]
        passes = 2 if kind == "linear_backward" else 1
        moved = item * (rows * depth + depth * cols + rows * cols) * passes
        return 2.0 * rows * depth * cols * passes, moved, moved
    if kind in ("train_step", "predict"):
        pairs = layer_products(case)
        flops = sum(2.0 * case["batch"] * a * b for a, b in pairs)
        if kind == "train_step":  # forward and two gradients, but no input gradient in the first layer
            flops = 3 * flops - 2.0 * case["batch"] * pairs[0][0] * pairs[0][1]
        moved = item * sum(a * b + b for a, b in pairs) if kind == "predict" else 0
        return flops, moved, moved
    if kind == "optimizer":
        states = optimizer_states(case["name"])
        return 0.0, item * case["n"] * (3 + 2 * states), item * case["n"] * (2 + states)
    if kind in ELEMENT_PASSES:
        moved = item * ELEMENT_PASSES[kind] * case["rows"] * case["cols"]
        return 0.0, moved, moved
    return 0.0, 0, 0


def _sizes(layers):
    """``784-256-10``; a size that comes more than three times in a row is written ``128x13``."""
    runs = [(size, len(list(group))) for size, group in itertools.groupby(layers)]
    return "-".join(f"{size}x{n}" if n > 3 else "-".join([str(size)] * n) for size, n in runs)


def label(case):
    """How a row of the report is called."""
    if case["kind"] in PRODUCT_KINDS:
        return f"{case['rows']}x{case['in']}x{case['out']}"
    if case["kind"] in ("train_step", "predict", "fit"):
        extras = (", BN" if case["batch_norm"] else "") + (f", dropout {case['dropout']}" if case["dropout"] else "")
        return _sizes(case["layers"]) + extras + f", batch {case['batch']}"
    if case["kind"] == "optimizer":
        return f"{case['name']} {case['n']:,}"
    if case["kind"] == "augment":
        return f"{case['name']} {case['images']:,}x{case['size']}x{case['size']}"
    axis = f" (axis {case['axis']})" if "axis" in case else ""
    return f"{case_name(case)}{axis} {case['rows']}x{case['cols']}"
