"""OpenVINO: one LSTMSequence, weights constant, latency hint.

Its CPU plugin computes in bfloat16 where the CPU can, unless told that float32 is meant.
"""

import numpy as np
import openvino as ov
import protocol
from cases import layer
from openvino import opset13 as op

core = ov.Core()


def gates(weights):
    """(.., 4H) in i f g o -> (1, 4H, ..) in OpenVINO's f i g o."""
    i, f, g, o = np.split(weights, 4, axis=-1)
    return np.ascontiguousarray(np.concatenate([f, i, g, o], axis=-1).T)[None]


def build(case):
    if case["task"] != "forward" or case.get("lengths"):
        return None
    a = layer(case)
    B, T, H = len(a.x), a.x.shape[1], a.h0.shape[1]
    inputs = {"x": a.x, "h0": a.h0[:, None], "c0": a.c0[:, None]}
    nodes = [op.parameter(array.shape, np.float32, name) for name, array in inputs.items()]
    sequence = op.lstm_sequence(
        *nodes, op.constant(np.full(B, T, np.int32)), *map(op.constant, map(gates, a[1:4])), H,
        "forward")  # fmt: skip
    compiled = core.compile_model(ov.Model(sequence.outputs(), nodes), "CPU", {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": protocol.THREADS,
    })  # fmt: skip
    request = compiled.create_infer_request()
    feeds = list(inputs.values())
    call = lambda: request.infer(feeds, share_inputs=True, share_outputs=True)  # noqa: E731
    return protocol.Job(call, lambda r: {"y": r[0][:, 0], "h": r[1][:, 0], "c": r[2][:, 0]})


if __name__ == "__main__":
    protocol.serve(build, {"openvino": ov.__version__})
