"""The command `clstm`, in a process of its own and in this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import clstm
from clstm.__main__ import main

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_module_and_console_script_are_the_same_command(tmp_path):
    script = Path(sys.executable).with_name("clstm")
    as_module = run("-m", "clstm", "--version", cwd=tmp_path)
    as_script = run(str(script), "--version", cwd=tmp_path)
    assert as_module.returncode == as_script.returncode == 0
    assert as_module.stdout == as_script.stdout == f"clstm {clstm.__version__}\n"


def test_info_prints_the_configuration(tmp_path):
    result = run("-m", "clstm", "info", cwd=tmp_path, CLSTM_NUM_THREADS="1", CLSTM_ISA="scalar")
    assert result.returncode == 0 and result.stderr == ""
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert rows["clstm"] == clstm.__version__
    assert rows["threads"] == "1"
    for name in ("CPU", "NumPy", "SciPy", "BLAS", "OpenMP", "backend"):
        assert rows[name]
    assert "instruction set  scalar" in result.stdout


def test_info_in_this_process_is_show_config(capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == clstm.config.show_config()


@pytest.mark.parametrize("command", [[], ["demo"]])
def test_help_explains_every_option(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    expected = ["--epochs", "--output", "--seed"] if command else ["demo", "info", "--version"]
    assert all(name in out for name in expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["train"], "train"),
        (["demo", "--epochs", "0"], "--epochs"),
        (["demo", "--epochs", "many"], "--epochs"),
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--seed", str(2**64)], "--seed"),
        (["demo", "--output", "curve.txt"], "--output"),
        (["demo", "--output", "no/such/folder/curve.png"], "--output"),
    ],
)
def test_wrong_command_line_exits_with_2_and_says_why_on_stderr(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == ""


def test_an_error_exits_with_1_and_one_line_on_stderr(monkeypatch, capsys):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("clstm.demo.run", fail)
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "clstm: the disk is full\n" and captured.out == ""


def test_an_interrupt_exits_with_130(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("clstm.demo.run", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "clstm: interrupted\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX shells only")
def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    line = f'"{sys.executable}" -c "import time, sys; time.sleep(0.5); sys.stdin.close()"'
    code = "from clstm.__main__ import main; import time, sys; time.sleep(1); sys.exit(main())"
    shell = f'"{sys.executable}" -c "{code}" info | {line}'
    result = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in result.stderr


def test_importing_an_unbuilt_source_folder_says_what_to_do(tmp_path):
    (tmp_path / "clstm/_kernels").mkdir(parents=True)
    for name in ("__init__.py", "_kernels/__init__.py"):
        (tmp_path / "clstm" / name).write_text((ROOT / "clstm" / name).read_text())
    result = run("-c", "import clstm", cwd=tmp_path)
    assert result.returncode == 1
    last = next(x for x in result.stderr.splitlines() if x.startswith("ImportError: clstm"))
    assert "pip install -e ." in last and "outside" in last
