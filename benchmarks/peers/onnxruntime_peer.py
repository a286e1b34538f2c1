"""ONNX Runtime on the CPU: weights as initializers (laid out ahead), inputs and outputs bound once."""

import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from . import inputs

NAME = "ONNX Runtime"
THREADS = [1]


def version():
    return onnxruntime.__version__


def setup(threads):
    THREADS[0] = threads


def _open(nodes, weights, x, output_shape):
    """A session of a graph from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS[0]
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _bound(session, x, output_shape):
    """A call that runs the session with bound buffers."""
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_numpy(np.empty(output_shape, np.float32)))
    return lambda: session.run_with_iobinding(binding)


def _session(nodes, weights, x, output_shape):
    return _bound(_open(nodes, weights, x, output_shape), x, output_shape)


def _quicker(*calls):
    """The call whose best of some times is shortest."""
    best = [float("inf")] * len(calls)
    for _ in range(15):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[index] = min(best[index], time.perf_counter() - start)
    return calls[best.index(min(best))]


def _dense(layers, activate_last):
    nodes, weights, value = [], {}, "x"
    for index, (weight, bias) in enumerate(layers):
        last = index == len(layers) - 1
        weights |= {f"w{index}": weight, f"b{index}": bias}
        relu = not last or activate_last
        target = f"z{index}" if relu else "y"
        nodes.append(helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [target]))
        if relu:
            value = "y" if last else f"h{index}"
            nodes.append(helper.make_node("Relu", [target], [value]))
    return nodes, weights


def linear(case):
    x, weight, bias = inputs.linear(case)
    return _session(*_dense([(weight, bias)], case.get("activation") == "relu"), x, (case["rows"], case["out"]))


def layer(case):
    x, weight, bias = inputs.linear(case)
    shape = (case["rows"], case["out"])
    session = _open(*_dense([(weight, bias)], True), x, shape)
    return _quicker(_bound(session, x, shape), lambda: session.run(["y"], {"x": x}))


def predict(case):
    if case["batch_norm"]:
        return None
    x, _ = inputs.batch(case)
    return _session(*_dense(inputs.parameters(case), False), x, (case["batch"], case["layers"][-1]))


def unary(case):
    name = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}.get(case["name"])
    x = inputs.matrix(case)
    return name and _session([helper.make_node(name, ["x"], ["y"])], {}, x, x.shape)


def softmax(case):
    name, x = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[case["name"]], inputs.matrix(case)
    return _session([helper.make_node(name, ["x"], ["y"], axis=1)], {}, x, x.shape)


FACTORIES = {"linear": linear, "layer": layer, "predict": predict, "unary": unary, "softmax": softmax}
