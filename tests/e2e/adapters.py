# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters as numbers, for comparing them: read with the tests' own GGUF reader, not with Choir's."""

import itertools
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import gguf_file  # noqa: E402  (a plain folder of tools, not a package)


def read(path):
    """{tensor name: float64 array}"""
    _, tensors = gguf_file.read(pathlib.Path(path))
    return {name: np.frombuffer(data, "<f4").reshape(shape).astype(np.float64)
            for name, (kind, shape, data) in tensors.items() if kind == "F32"}


def flat(adapter, like=None):
    """All values as one vector, in the order of `like` (default: by name)."""
    return np.concatenate([adapter[name].ravel() for name in (like or sorted(adapter))])


def subsets_whose_mean_is(target, deltas, size, tolerance):
    """The sets of `size` different nodes whose plain mean delta is `target`: [(names, largest difference)].

    A node that was counted twice, left out, or trained from something else makes this empty.
    """
    found = []
    for names in itertools.combinations(sorted(deltas), size):
        mean = sum(deltas[name] for name in names) / size
        difference = float(np.max(np.abs(mean - target)))
        if difference <= tolerance:
            found.append((names, difference))
    return found
