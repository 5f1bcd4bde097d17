"""What Keras's callbacks decide on given logs: writes keras_callbacks.json.

    KERAS_BACKEND=jax python make_keras_callbacks.py      (keras 3.15.1)
"""

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np

EPOCHS = 30


def walk(seed):
    """A quantity that falls for a while, with steps on which it stands still."""
    rng = np.random.default_rng(seed)
    values = 2 + np.cumsum(rng.normal(-0.03, 0.1, EPOCHS))
    values[::5] = values[1::5]
    return [float(v) for v in values]


def early_stopping(values, options):
    model = SimpleNamespace(stop_training=False, epoch=0, restored=None)
    model.get_weights = lambda: model.epoch
    model.set_weights = lambda epoch: setattr(model, "restored", epoch)
    callback = keras.callbacks.EarlyStopping("val_loss", **options)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        model.epoch = epoch
        callback.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            break
    callback.on_train_end()
    return {"epochs": epoch + 1, "wait": callback.wait, "best": callback.best,
            "best_epoch": callback.best_epoch, "restored": model.restored}  # fmt: skip


def reduce_rate(values, options):
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5))
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", **options)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        rates.append(float(model.optimizer.learning_rate))
    return rates


def checkpoint(values, options):
    saved = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "{epoch}.keras")
        callback = keras.callbacks.ModelCheckpoint(path, save_best_only=True, **options)
        callback.set_model(SimpleNamespace(
            save=lambda path, overwrite: saved.append(int(Path(path).stem))))  # fmt: skip
        for epoch, value in enumerate(values):
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"val_loss": value})
    return saved


CASES = {
    early_stopping: [
        {}, {"patience": 1}, {"patience": 4}, {"patience": 4, "min_delta": 0.1},
        {"patience": 3, "mode": "max"}, {"patience": 3, "baseline": 1.8},
        {"patience": 2, "start_from_epoch": 6}, {"patience": 3, "restore_best_weights": True},
        {"patience": 99, "restore_best_weights": True, "mode": "max", "min_delta": 0.05},
    ],
    reduce_rate: [
        {"patience": 0}, {"patience": 1}, {"patience": 3, "factor": 0.5},
        {"patience": 2, "cooldown": 3}, {"patience": 1, "min_lr": 0.01},
        {"patience": 2, "min_delta": 0.2, "factor": 0.7}, {"patience": 2, "mode": "max"},
    ],
    checkpoint: [{}, {"mode": "max"}, {"initial_value_threshold": 1.7}],
}  # fmt: skip

if __name__ == "__main__":
    found = []
    for run, options_of in CASES.items():
        for options in options_of:
            for seed in range(6):
                options = {"mode": "min", **options}
                values = walk(seed)
                found.append({"callback": run.__name__, "options": options, "values": values,
                              "found": run(values, options)})  # fmt: skip
    path = Path(__file__).with_name("keras_callbacks.json")
    path.write_text(json.dumps(found) + "\n")
