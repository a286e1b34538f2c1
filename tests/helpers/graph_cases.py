"""Small differentiable functions, at least one per op and mode of the graph, with inputs off the kinks."""

import numpy as np

from fastnn import _native
from fastnn import functional as F

RNG = np.random.default_rng(7)
POSITIVE = ("sqrt", "log", "log1p", "reciprocal")


def normal(*shape):
    return RNG.normal(size=shape)


def off_zero(*shape):
    """Values at least 0.1 away from 0."""
    x = RNG.normal(size=shape)
    return x + 0.1 * np.sign(x)


def positive(*shape):
    return 0.3 + RNG.random(shape)


LABELS = np.array([0, 3, 1, 2, 2, 0])
PROBABILITIES = RNG.dirichlet(np.ones(4), 6)
CLASS_WEIGHT = np.array([0.5, 1.0, 2.0, 0.7])
SAMPLE_WEIGHT = RNG.random(6) + 0.2



def loss_inputs(row):
    """(x, target) that a row of losses.def takes, off its kinks."""
    x = RNG.uniform(0.1, 0.9, (6, 4)) if row["name"] == "binary_cross_entropy" else off_zero(6, 4)
    targets = {
        "any": x + 0.7 * off_zero(6, 4),
        "probability": PROBABILITIES,
        "sign": np.where(RNG.random((6, 4)) < 0.5, -1.0, 1.0),
        "count": RNG.uniform(1.2, 4.0, (6, 4)),
    }
    return x, targets[row["target"]]


# name -> (function, inputs, whether second derivatives exist in primitives)
CASES = {}


def case(name, function, *inputs, twice=True):
    CASES[name] = (function, inputs, twice)


for _which in ("activations", "elementwise"):
    for _row in _native.list_rows(_which):
        _name = _row["name"]
        _x = positive(5, 3) if _name in POSITIVE else off_zero(5, 3)
        case(_name, getattr(F, _name), _x)

for _name in ("add", "subtract", "multiply", "maximum", "minimum"):
    case(_name, getattr(F, _name), normal(4, 3), normal(4, 3))
    case(_name + " row", getattr(F, _name), normal(4, 3), normal(3))
    case(_name + " column", getattr(F, _name), normal(4, 1), normal(4, 3))
    case(_name + " outer", getattr(F, _name), normal(4, 1), normal(1, 3))
    case(_name + " deep", getattr(F, _name), normal(2, 1, 3), normal(4, 1))
case("divide", F.divide, normal(4, 3), off_zero(4, 3) * 2)
case("divide row", F.divide, normal(4, 3), positive(3))
case("divide scalar", lambda x: 2.0 / x, positive(4, 3))
case("greater", lambda x, y: F.greater(x, y) * x, normal(4, 3), normal(4, 3))
case("prelu", F.prelu, off_zero(4, 3), normal(3))
case("prelu one", F.prelu, off_zero(4, 3), normal(1))
case("prelu channels", F.prelu, off_zero(2, 3, 4), normal(3))
case("clamp", lambda x: F.clamp(x, -0.4, 0.7), off_zero(4, 3))
for _name, _options in (
    ("leaky_relu", {"negative_slope": 0.3}), ("shifted_relu", {"shift": 0.5}), ("elu", {"alpha": 1.7}),
    ("celu", {"alpha": 0.6}), ("softplus", {"beta": 2.0}), ("hardtanh", {"min_val": -0.5, "max_val": 1.5}),
    ("gelu", {"approximate": "tanh"}),
):  # fmt: skip
    case(f"{_name} with options", lambda x, n=_name, o=_options: getattr(F, n)(x, **o), off_zero(5, 3))
case("where", lambda m, a, b: F.where(F.greater(m, 0.0), a, b), off_zero(4, 3), normal(4, 3), normal(3))
for _p in (2, 3, 5, -1, -2, 0.5, 1.7, 0):
    case(f"power {_p}", lambda x, p=_p: x**p, positive(3, 2))

case("matmul", lambda a, b: a @ b, normal(4, 3), normal(3, 5))
case("matmul vectors", lambda a, b: a @ b, normal(3), normal(3))
case("matmul vector matrix", lambda a, b: a @ b, normal(3), normal(3, 4))
case("matmul matrix vector", lambda a, b: a @ b, normal(4, 3), normal(3))
case("matmul deep", lambda a, b: a @ b, normal(2, 4, 3), normal(3, 5))
case("matmul transposed", lambda a, b: a.T @ b.T, normal(3, 4), normal(5, 3))
case("matmul sliced", lambda a, b: a[:, ::2] @ b[1:4], normal(4, 6), normal(6, 5))
case("linear", F.linear, normal(6, 3), normal(4, 3), normal(4))
case("linear no bias", F.linear, normal(6, 3), normal(4, 3))
case("linear deep", F.linear, normal(2, 3, 3), normal(4, 3), normal(4))
case("linear vector", F.linear, normal(3), normal(4, 3), normal(4))
for _name in ("relu", "sigmoid", "tanh"):
    case(
        f"linear {_name}",
        lambda x, w, b, n=_name: F.linear(x, w, b, activation=n), normal(6, 3), normal(4, 3), normal(4),
    )  # fmt: skip

for _axis in (None, 0, 1, -1, (0, 2), (1, 2), (0, 1, 2)):
    for _keep in (False, True):
        for _op in ("sum", "mean", "max", "min"):
            case(
                f"{_op} {_axis} {_keep}",
                lambda x, o=_op, a=_axis, k=_keep: getattr(F, o)(x, a, keepdims=k),
                normal(3, 4, 2),
            )
case("var", lambda x: F.var(x, axis=0), normal(5, 3))
case("mean of products", lambda x, y: (x * y).mean(axis=1), normal(5, 3), normal(5, 3))

case("reshape", lambda x: F.reshape(x, (2, -1)) * 2.0, normal(4, 3))
case("transpose", lambda x: F.transpose(x, (2, 0, 1)) * normal_fixed((2, 3, 4)), normal(3, 4, 2))
case("transpose reshape", lambda x: x.T.reshape(-1) ** 2, normal(3, 4))
case("broadcast_to", lambda x: F.broadcast_to(x, (4, 3)) * normal_fixed((4, 3)), normal(1, 3))
case("concatenate 0", lambda x, y: F.concatenate([x, y, x]) ** 2, normal(2, 3), normal(4, 3))
case("concatenate 1", lambda x, y: F.concatenate([x, y], axis=1) ** 2, normal(2, 3), normal(2, 5))
case("stack", lambda x, y: F.stack([x, y], axis=1) ** 2, normal(2, 3), normal(2, 3))
case("slice", lambda x: x[1:3, ::2] ** 2, normal(4, 5))
case("slice index", lambda x: x[2] * x[-1, None], normal(4, 5))
case("slice ellipsis", lambda x: x[..., 1] ** 2, normal(2, 4, 5))
case("slice reversed", lambda x: x[::-1] * x, normal(4, 3))
case("flatten", lambda x: F.flatten(x) ** 2, normal(4, 2, 3))
case("pad twice", lambda x: (x[1:] * x[:-1]).sum(axis=0), normal(4, 3))

case("softmax", F.softmax, normal(6, 4))
case("log_softmax", F.log_softmax, normal(6, 4))
case("softmax axis 0", lambda x: F.softmax(x, axis=0), normal(6, 4))
case("softmax vector", F.softmax, normal(4))
case("softmax deep", F.log_softmax, normal(2, 3, 4))

for _reduction in ("mean", "sum", "none"):
    _o = {"reduction": _reduction}
    case(f"cross_entropy {_reduction}", lambda x, o=_o: F.cross_entropy(x, LABELS, **o), normal(6, 4))
    case(
        f"cross_entropy smooth {_reduction}",
        lambda x, o=_o: F.cross_entropy(x, LABELS, label_smoothing=0.1, **o), normal(6, 4),
    )  # fmt: skip
    case(
        f"cross_entropy weights {_reduction}",
        lambda x, o=_o: F.cross_entropy(x, LABELS, weight=CLASS_WEIGHT, sample_weight=SAMPLE_WEIGHT, **o), normal(6, 4),
    )  # fmt: skip
    case(
        f"cross_entropy ignore {_reduction}",
        lambda x, o=_o: F.cross_entropy(x, LABELS, ignore_index=2, label_smoothing=0.2, **o), normal(6, 4),
    )  # fmt: skip
    case(f"cross_entropy rows {_reduction}", lambda x, o=_o: F.cross_entropy(x, PROBABILITIES, **o), normal(6, 4))
    case(
        f"cross_entropy target {_reduction}",
        lambda x, t, o=_o: F.cross_entropy(x, t, **o), normal(6, 4), PROBABILITIES,
    )  # fmt: skip
    for _row in _native.list_rows("losses"):
        _f, _x, _t = getattr(F, _row["function"]), *loss_inputs(_row)
        case(f"{_row['name']} {_reduction}", lambda x, t, f=_f, o=_o: f(x, t, **o), _x, _t)
        case(
            f"{_row['name']} weighted {_reduction}",
            lambda x, f=_f, t=_t, o=_o: f(x, t, sample_weight=SAMPLE_WEIGHT, **o), _x,
        )  # fmt: skip
    case(
        f"poisson rate {_reduction}",
        lambda x, t, o=_o: F.poisson_nll_loss(x, t, log_input=False, full=True, **o),
        positive(6, 4), 3 * positive(6, 4),
    )  # fmt: skip
    case(
        f"quantile columns {_reduction}",
        lambda x, t, o=_o: F.quantile_loss(x, t, q=[0.1, 0.4, 0.5, 0.9], **o), normal(6, 4), normal(6, 4),
    )  # fmt: skip

case("dropout", lambda x: F.dropout(x, 0.4, seed=3) ** 2, normal(6, 4))
case("alpha_dropout", lambda x: F.alpha_dropout(x, 0.4, seed=3) ** 2, normal(6, 4))
case("gaussian_noise", lambda x: F.gaussian_noise(x, 0.4, seed=3) ** 2, normal(6, 4))
case("layer_norm", lambda x, w, b: F.layer_norm(x, 4, w, b) ** 2, normal(6, 4), positive(4), normal(4))
case("layer_norm plain", lambda x: F.layer_norm(x, 4) ** 3, normal(6, 4))
case("layer_norm axes", lambda x, w: F.layer_norm(x, (3, 2), w) ** 2, normal(4, 3, 2), positive(3, 2))
case("dropout shared", lambda x: F.dropout(x, 0.4, seed=3, shared=True) ** 2, normal(6, 4))
case("batch_norm", lambda x, w, b: F.batch_norm(x, weight=w, bias=b, training=True), normal(6, 4), normal(4), normal(4))
case("batch_norm plain", lambda x: F.batch_norm(x, training=True), normal(6, 4))
case("batch_norm weight", lambda x, w: F.batch_norm(x, weight=w, training=True) ** 2, normal(6, 4), normal(4))
case(
    "batch_norm inference",
    lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b), normal(6, 4), normal(4), positive(4), normal(4), normal(4),
)  # fmt: skip
case("stop_gradient", lambda x: F.stop_gradient(x * 2.0) + x, normal(3, 2), twice=False)
case(
    "python_op",
    lambda x: F.python_op(np.sin, x * 2.0, vjp=lambda g, a: g * np.cos(a), jvp=lambda t, a: t * np.cos(a)) * x,
    normal(3, 2), twice=False,
)  # fmt: skip


def normal_fixed(shape):
    """The same values at every call."""
    return np.random.default_rng(sum(shape)).normal(size=shape)
