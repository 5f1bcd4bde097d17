"""Reads and writes the golden files: one .npz a topic, plain arrays and JSON, no pickle.

Inside: `about` (JSON: versions, notes), `cases` (JSON: {case name: its configuration}), `index`
(JSON: {case name: {array name: [dtype, start, shape]}}) and one flat array per dtype that holds all
arrays of that dtype (a zip entry for each of a thousand small arrays would double the file). Inputs
are small multiples of a power of two, so they are the same numbers in float32 and float64; results
are float64.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


class Writer:
    """Collects cases and writes them as one compressed file."""

    def __init__(self, **about):
        self.about, self.cases, self.index, self.blobs, self.sizes = about, {}, {}, {}, {}

    def add(self, name, config, arrays):
        assert name not in self.cases, name
        self.cases[name], self.index[name] = config, {}
        for key, value in arrays.items():
            if value is not None:
                value = np.asarray(value)
                if value.dtype == np.float64 and (value == value.astype(np.float32)).all():
                    value = value.astype(np.float32)  # the same numbers in half the space
                dtype = value.dtype.name
                start = self.sizes.get(dtype, 0)
                self.index[name][key] = [dtype, start, value.shape]
                self.blobs.setdefault(dtype, []).append(value.ravel())
                self.sizes[dtype] = start + value.size

    def write(self, filename):
        text = {k: np.array(json.dumps(getattr(self, k))) for k in ("about", "cases", "index")}
        blobs = {k: np.concatenate(v) for k, v in self.blobs.items()}
        np.savez_compressed(HERE / filename, **text, **blobs)


class Case:
    """One case: `.name`, `.config` (a dict), its arrays as attributes; an absent one is None."""

    def __init__(self, name, config, arrays):
        self.name, self.config, self.arrays = name, config, arrays

    def __getattr__(self, key):
        if key.startswith("__"):
            raise AttributeError(key)
        return self.arrays.get(key)

    def list(self, prefix):
        """The arrays prefix0, prefix1, ... in order."""
        n = sum(key.startswith(prefix) and key[len(prefix) :].isdigit() for key in self.arrays)
        return [self.arrays[f"{prefix}{i}"] for i in range(n)]


def load(filename):
    """{case name: Case}, floats as float64."""
    with np.load(HERE / filename, allow_pickle=False) as file:
        configs, index = json.loads(str(file["cases"])), json.loads(str(file["index"]))
        blobs = {key: file[key] for key in file.files if key not in ("about", "cases", "index")}

    def array(dtype, start, shape):
        value = blobs[dtype][start : start + int(np.prod(shape))].reshape(shape)
        return value.astype(np.float64) if value.dtype.kind == "f" else value

    return {
        name: Case(name, config, {key: array(*place) for key, place in index[name].items()})
        for name, config in configs.items()
    }


def grid(rng, *shape, scale=1.0):
    """Random multiples of scale/64 in [-scale, scale]; scale must be a power of two."""
    return rng.randint(-64, 65, shape) * (scale / 64)
