"""`clstm demo`: its parts, and a short run of it all."""

import builtins
import re

import numpy as np
import pytest

from clstm import config, demo
from clstm.__main__ import main
from clstm.datasets import load_digits


def test_shifted_has_the_original_first_and_every_neighbouring_place():
    x = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    all_places = demo.shifted(x)
    assert all_places.shape == (27, 8, 8) and all_places.dtype == np.float32
    assert np.array_equal(all_places[:3], x)
    seen = set()
    for k in range(9):
        part = all_places[3 * k : 3 * k + 3]
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                moved = np.roll(x, (down, right), axis=(1, 2))
                if down:
                    moved[:, 0 if down > 0 else -1] = 0
                if right:
                    moved[:, :, 0 if right > 0 else -1] = 0
                if np.array_equal(part, moved):
                    seen.add((down, right))
    assert len(seen) == 9


def test_baselines_on_a_case_worked_out_by_hand():
    x = np.array([[[0.0]], [[1.0]], [[10.0]], [[4.0]]])
    y = np.array([0, 0, 1, 1])  # means 0.5 and 7
    result = demo.baselines(x, y, np.array([[[3.6]], [[9.0]], [[0.2]]]), np.array([0, 1, 0]))
    assert result["the most frequent class"] == pytest.approx(2 / 3)
    assert result["the nearest class mean"] == pytest.approx(1)  # 3.6 is nearer to 0.5
    assert result["the nearest training digit"] == pytest.approx(2 / 3)  # 3.6 is nearest to 4


def test_baselines_on_the_digits_are_what_the_data_set_says():
    (x, y), (x_test, y_test) = load_digits()
    result = demo.baselines(x, y, x_test, y_test)
    assert result["the nearest training digit"] == pytest.approx(0.958, abs=0.001)
    assert 0.8 < result["the nearest class mean"] < 0.9
    assert 0.09 < result["the most frequent class"] < 0.11


def test_backend_is_restored_after_an_error():
    before = config.get_backend()
    with pytest.raises(RuntimeError), demo.backend("numpy"):
        assert config.get_backend() == "numpy"
        raise RuntimeError
    assert config.get_backend() == before


@pytest.mark.parametrize("chosen", ["auto", "numpy"])
def test_speeds_do_the_same_work_in_both_backends(chosen, monkeypatch):
    monkeypatch.setattr(demo, "SPEED_BATCHES", 3)
    (x, y), _ = load_digits()
    with demo.backend(chosen):
        (fast, loss), (plain, loss_plain) = demo.speeds(x, y % 2, seed=0).values()
        assert config.get_backend() == chosen
    assert fast > 0 and plain > 0
    assert loss == pytest.approx(loss_plain, rel=1e-3)


def test_a_short_demo_prints_its_numbers_and_saves_the_picture(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "SPEED_BATCHES", 3)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--epochs", "1", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "Total weights: 31,434" in out
    assert "Epoch 1/1" in out
    accuracies = [float(a) for a in re.findall(r"^  \D+ ([\d.]+)%$", out, re.M)]
    assert len(accuracies) == 6
    assert accuracies[0] > 50  # after one epoch; a guess has 10
    rates = re.findall(r"([\d,]+) sequences/s", out)
    assert len(rates) == 2
    assert re.search(r"ratio +[\d.]+$", out, re.M)


def test_without_matplotlib_the_demo_says_so(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    history = {k: [0.5] for k in ("loss", "accuracy", "val_loss", "val_accuracy")}
    target = tmp_path / "curve.png"
    assert demo.save_picture(target, history, {"x": 0.5}) is False
    assert not target.exists()
