"""Numbers that other projects published, from the folder `shared/cases` beside the checkout.

CLSTM_CASES names another folder. Every case in the files is computed.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from clstm import functional as F

ROOT = Path(__file__).resolve().parents[1]
CASES = Path(os.environ.get("CLSTM_CASES") or ROOT.parent / "shared" / "cases")

ORT, TFLITE_SEQUENCE = "ort_lstm_op_test", "tflite_unidirectional_lstm_test"
TFLITE, TFLITE_BOTH = "tflite_lstm_test", "tflite_bidirectional_lstm_test"
NGRAPH = "ngraph_lstm"
# Published with five digits; the others have eight.
FIVE_DIGITS = "ONNXRuntime_TestLSTMBatchReallocation[batch3]"
# Upstream's Y[1, 1, 0, 0] = -0.04350187 there; the formula gives -0.04356322 (see the README).
WRONG_UPSTREAM = {"ONNXRuntime_TestLSTMShorterSeqInMiddle", "ONNXRuntime_TestLSTMZeroSeqInMiddle"}


def cases(*files):
    """Parameters (case) of all cases in the files; one skipped where there is no folder."""
    if not CASES.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no folder {CASES}"))]
    found = []
    for file in files:
        for case in json.loads((CASES / f"{file}.json").read_text())["cases"]:
            found.append(pytest.param(case, id=f"{file}-{case['name']}"))
    return found


def by_gate(rows, order):
    """Rows (4H, ...) whose gates stand in `order`, as ours: i f g o."""
    blocks = dict(zip(order, np.split(np.asarray(rows, np.float64), 4), strict=True))
    return np.concatenate([blocks[gate] for gate in "ifgo"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", cases(ORT, NGRAPH))
def test_onnx(case, dtype):
    attrs, expected = case["attrs"], case["expected"]
    x = np.array(case["X"])
    direction, units = attrs["direction"], attrs["hidden_size"]
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    ys, hs, cs = [], [], []
    for d, reverse in enumerate(reverses):
        cell = dict(zip(("recurrent_activation", "activation", "cell_activation"),
                        attrs["activations"][3 * d : 3 * d + 3], strict=True))  # fmt: skip
        if cell["recurrent_activation"] == "hardsigmoid":
            cell["recurrent_activation"] = {
                "name": "hard_sigmoid", "alpha": attrs["activation_alpha"][d],
                "beta": attrs["activation_beta"][d],
            }  # fmt: skip
        W, R, P = (None if case[name] is None else np.array(case[name][d]) for name in "WRP")
        W, R = by_gate(W, "iofg"), by_gate(R, "iofg")
        if P is not None:
            i, o, f = np.split(P, 3)
            cell["peephole"] = np.stack([i, f, o])
        bias = None
        if case["B"] is not None:
            one, two = np.split(np.array(case["B"][d]), 2)
            bias = by_gate(one + two, "iofg").astype(dtype)
        if attrs["input_forget"]:  # f = 1 - i there: sigmoid(-z) = 1 - sigmoid(z)
            assert cell["recurrent_activation"] == "sigmoid"
            cell["coupled_input_forget"] = True
            for weights in (W, R, bias):
                weights[units : 2 * units] = -weights[:units]
            cell["peephole"][1] = -cell["peephole"][0]
        state = tuple(
            None if case[name] is None else case[name][d] for name in ("initial_h", "initial_c")
        )
        y, (h, c) = F.lstm(
            x, W.T.astype(dtype), R.T.astype(dtype), bias, initial_state=state,
            lengths=case["sequence_lens"], reverse=reverse, time_major=True,
            preactivation_clip=attrs["clip"], **cell,
        )  # fmt: skip
        assert y.dtype == dtype and y.shape == (*x.shape[:2], units)
        ys.append(y)
        hs.append(h)
        cs.append(c)
    got = {"Y": np.stack(ys, 1), "Y_h": np.stack(hs), "Y_c": np.stack(cs)}
    compared, tolerance = 0, 5.1e-6 if case["name"] == FIVE_DIGITS else 2e-6
    for name, value in expected.items():
        if value is None:
            continue
        value = np.array(value)
        if case["name"] in WRONG_UPSTREAM and name == "Y":
            assert value[1, 1, 0, 0] == -0.04350187
            value[1, 1, 0, 0] = -0.04356322
        np.testing.assert_allclose(got[name], value, rtol=0, atol=tolerance, err_msg=name)
        compared += value.size
    assert compared


def tflite_weights(weights, inputs, cells, outputs, dtype):
    """kernel, recurrent_kernel, bias and the cell's options; a part that is missing is coupled."""

    def part(name, shape):
        value = weights.get(name)
        return np.zeros(shape) if value is None else np.array(value, np.float64).reshape(shape)

    def gates(name, shape):
        names = ("input", "forget", "cell", "output")
        return np.concatenate([part(name.format(gate), shape) for gate in names]).astype(dtype)

    cell = {"coupled_input_forget": weights.get("input_to_input_weights") is None}
    if weights.get("cell_to_output_weights"):
        cell["peephole"] = np.stack(
            [part(f"cell_to_{gate}_weights", (cells,)) for gate in ("input", "forget", "output")]
        )
    if weights.get("projection_weights"):
        cell["projection"] = part("projection_weights", (outputs, cells)).T
    if weights.get("projection_bias"):
        cell["projection_bias"] = part("projection_bias", (outputs,))
    if weights.get("cell_layer_norm_coefficients"):
        gains = gates("{}_layer_norm_coefficients", (cells,)).reshape(4, cells)
        cell |= {"layer_norm": "gate", "norm_gain": gains, "norm_epsilon": 1e-8}
    return (gates("input_to_{}_weights", (cells, inputs)).T,
            gates("recurrent_to_{}_weights", (cells, outputs)).T,
            gates("{}_gate_bias", (cells,))), cell  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", cases(TFLITE, TFLITE_SEQUENCE, TFLITE_BOTH))
def test_tflite(case, dtype):
    inputs, cells, outputs = case["n_input"], case["n_cell"], case["n_output"]
    if "arrays" in case:  # both directions
        weights = case["weights_both_directions"]
        x = np.reshape(case["arrays"]["lstm_input"], (case["n_batch"], -1, inputs))
        wanted = [case["arrays"][f"lstm_{d}_golden_output"] for d in ("fw", "bw")]
    else:
        weights = case.get("weights", case)
        x, golden = np.array(case["lstm_input"]), np.array(case["lstm_golden_output"])
        if x.ndim == 3:  # [step][batch]
            x, golden = x.swapaxes(0, 1), golden.swapaxes(0, 1)
        x, wanted = x.reshape(len(x), -1, inputs), [golden]
    arrays, cell = tflite_weights(weights, inputs, cells, outputs, dtype)
    for reverse, golden in zip([False, True], wanted):  # noqa: B905
        y, _ = F.lstm(x, *arrays, reverse=reverse, **cell)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, np.reshape(golden, y.shape), rtol=0, atol=2e-6)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no folder {CASES}")
def test_every_case_is_computed():
    """The files named above are all that have cases, and `cases` gives each of them."""
    there = {path.stem: json.loads(path.read_text()) for path in CASES.glob("*.json")}
    named = {file: len(content["cases"]) for file, content in there.items() if "cases" in content}
    assert named.keys() == {ORT, NGRAPH, TFLITE, TFLITE_SEQUENCE, TFLITE_BOTH}
    for file, count in named.items():
        assert len(cases(file)) == count > 0
