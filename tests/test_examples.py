"""Every example runs, in its quick setting, tells a result and saves its picture."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NEEDS = {  # what a Debian package brings
    "speech": ("espeak-ng", shutil.which("espeak-ng")),
    "translation": ("iso-codes", Path("/usr/share/iso-codes/json").is_dir()),
}
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def test_there_are_examples_and_the_gallery_shows_each():
    gallery = (Path(__file__).parent.parent / "examples" / "README.md").read_text()
    assert EXAMPLES
    for example in EXAMPLES:
        assert f"pictures/{example.stem}.png" in gallery and example.name in gallery


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_runs(example, tmp_path):
    package, found = NEEDS.get(example.stem, (None, True))
    if not found:
        pytest.skip(f"the Debian package {package} is not installed")
    done = subprocess.run([sys.executable, example, "--quick", "--out", tmp_path], cwd=tmp_path,
                          env={**os.environ, "MPLCONFIGDIR": str(tmp_path)}, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%" in done.stdout, done.stdout
    picture = tmp_path / f"{example.stem}.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 5000


def test_speech_without_espeak_names_the_package(tmp_path):
    speech = Path(__file__).parent.parent / "examples" / "speech.py"
    done = subprocess.run([sys.executable, speech, "--quick", "--out", tmp_path], cwd=tmp_path,
                          env={**os.environ, "PATH": "", "MPLCONFIGDIR": str(tmp_path)},
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 1 and done.stderr.endswith("apt install espeak-ng\n"), done.stderr
    assert not list(tmp_path.glob("*.png"))
