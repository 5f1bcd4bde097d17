"""README.md tells the truth: its programs run, its files exist, CI runs its command."""

import re
from pathlib import Path

import numpy as np
import pytest

import clstm

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_programs_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(programs) == 9
    names = {"__name__": "readme"}
    clstm.set_seed(0)
    for number, program in enumerate(programs):
        exec(compile(program, f"README.md, program {number}", "exec"), names)
    assert names["grads"].recurrent_kernel.shape == (8, 32)
    model = names["model"]
    model.save("scaled.safetensors")
    x = names["X_train"]
    again = clstm.load_model("scaled.safetensors")
    assert np.array_equal(again.predict(x), model.predict(x))
    capsys.readouterr()


def test_the_layer_of_the_readme_has_the_right_gradients():
    program = re.findall(r"```python\n(.*?)```", README, re.S)[-1]
    names = {}
    source = program.split("\nmodel =")[0].replace('@register("layer")', "")
    exec(source, names)
    layer = names["Scale"](dtype="float64")
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    layer.ensure_built(x.shape)
    layer.params["gain"][...] = rng.normal(size=4)
    _, tape = layer.forward(x)
    dx = layer.backward(tape, d)
    for array, gradient in ((x, dx), (layer.params["gain"], layer.grads["gain"])):
        for place in np.ndindex(array.shape):
            kept, numeric = array[place], 0.0
            for sign in (1, -1):
                array[place] = kept + sign * 1e-5
                numeric += sign * (layer.forward(x)[0] * d).sum() / 2e-5
            array[place] = kept
            assert gradient[place] == pytest.approx(numeric, rel=1e-6, abs=1e-9)


def test_every_file_that_a_page_names_exists():
    for page in ("README.md", "csrc/README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        inline = re.findall(r"`((?:clstm|csrc|tests|benchmarks|tools|\.ci)/[\w./-]*)`", text)
        links = re.findall(r"\]\(((?!http)[^)#]+)\)", text)
        assert inline or links
        missing = [name for name in [*inline, *links] if not (ROOT / name).exists()]
        assert not missing, f"{page} names files that do not exist"


def test_every_public_class_is_named():
    table = README[README.index("## What there is") : README.index("## Promises")]
    classes = [n for n in clstm.__all__ if isinstance(getattr(clstm, n), type) and n != "Layer"]
    assert [name for name in classes if f"`{name}`" not in table] == []


def test_ci_runs_the_command_of_the_readme():
    commands = [
        c for block in re.findall(r"```sh\n(.*?)```", README, re.S) for c in block.splitlines()
    ]
    assert len(commands) == 2
    assert all("&&" in c and c.startswith("python3 -m venv") for c in commands)
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    pattern = re.search(r"command=\$\(grep -m1 -F '(.*)' README\.md\)", script).group(1)
    assert next(line for line in README.splitlines() if pattern in line) == commands[1]
    assert 'bash -c "$command"' in script


def test_the_variables_and_backends_are_those_of_the_code():
    for name in clstm.config.BACKENDS:
        assert f"| `{name}` |" in README
    code = (ROOT / "clstm/config.py").read_text() + (ROOT / "setup.py").read_text()
    for variable in set(re.findall(r"`(CLSTM_\w+)", README)):
        assert variable in code


def test_the_measured_section_has_its_markers():
    assert README.count("<!-- measured -->") == README.count("<!-- /measured -->") == 1
