"""ONNX Runtime: a model of one LSTM node, time-major as its kernel wants it, weights constant."""

import numpy as np
import onnx
import onnxruntime as ort
import protocol
from cases import layer
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 14, 8  # that of LSTM-14; any later runtime reads both


def gates(weights):
    """(.., 4H) in i f g o -> (4H, ..) in ONNX's i o f g."""
    i, f, g, o = np.split(weights, 4, axis=-1)
    return np.ascontiguousarray(np.concatenate([i, o, f, g], axis=-1).T)


def model_bytes(a):
    T, B, H = a.x.shape[1], a.x.shape[0], a.h0.shape[1]
    constants = {
        "W": gates(a.kernel)[None],
        "R": gates(a.recurrent_kernel)[None],
        "B": np.concatenate([gates(a.bias), np.zeros(4 * H, np.float32)])[None],
    }
    value = lambda name, shape: helper.make_tensor_value_info(  # noqa: E731
        name, TensorProto.FLOAT, shape)  # fmt: skip
    node = helper.make_node("LSTM", ["x", *constants, "", "h0", "c0"], ["y", "h", "c"],
                            hidden_size=H)  # fmt: skip
    graph = helper.make_graph(
        [node],
        "lstm",
        [value("x", (T, B, a.x.shape[2])), value("h0", (1, B, H)), value("c0", (1, B, H))],
        [value("y", (T, 1, B, H)), value("h", (1, B, H)), value("c", (1, B, H))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return model.SerializeToString()


def bound(session, feeds):
    """A call whose inputs and outputs are bound once: faster than `run`, made for one input."""
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for name in ("y", "h", "c"):
        binding.bind_output(name, "cpu")
    first = []

    def call():
        session.run_with_iobinding(binding)
        if not first:  # what is checked; later calls write the same memory again
            first.extend(binding.copy_outputs_to_cpu())
        return first

    return call


def build(case):
    if case["task"] != "forward" or case.get("lengths"):
        return None
    a = layer(case)
    options = ort.SessionOptions()
    options.intra_op_num_threads = protocol.THREADS
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model_bytes(a), options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.ascontiguousarray(np.swapaxes(a.x, 0, 1)), "h0": a.h0[None], "c0": a.c0[None]}
    call = lambda: session.run(None, feeds)  # noqa: E731
    if case.get("variant") == "bound":
        call = bound(session, feeds)
    return protocol.Job(call, lambda r: {
        "y": np.swapaxes(r[0][:, 0], 0, 1), "h": r[1][0], "c": r[2][0]})  # fmt: skip


if __name__ == "__main__":
    protocol.serve(build, {"onnxruntime": ort.__version__, "onnx": onnx.__version__})
