# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""What a coordinator has in its hands during a session tells it the sum, and nothing of one node.

The coordinator is killed when it has received and stored everything (all masked inputs, all shares, the opened sum) and
before it has cleaned up anything. Then its whole folder and log are searched, with each node's true delta taken from
that node's own folder: the coordinator's side must look random, the sum must be exactly the sum of what went in.
"""

import struct
import unittest

import federation
import numpy as np
import small_federation

WORD_BITS = 32
CODEC_RANGE = 1.0
# With cohorts of up to 5: 2^29 - 1, so that the sum of 5 such values fits 32 bits (docs/protocol.md).
VALUE_BITS = WORD_BITS - 3
SCALE = (2 ** (VALUE_BITS - 1) - 1) / CODEC_RANGE
# Six standard deviations: chance alone fails one run in 10^9 or less.
SIGMAS = 6
SHINGLE_BYTES = 24  # of text: long enough to be nobody's coincidence


def uniform_bytes(data):
    """Chi-square of the bytes against all 256 being equally likely, in standard deviations from its mean of 255."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    return float((np.sum((counts - expected) ** 2) / expected - 255) / np.sqrt(2 * 255))


def correlation(a, b):
    """Pearson's r, in standard deviations from 0."""
    return float(np.corrcoef(a, b)[0, 1] * np.sqrt(len(a)))


def eight_byte_windows(data):
    """Every 8 bytes of the data, from every offset, as numbers."""
    padded = np.frombuffer(data + bytes(8), np.uint8)
    return [padded[at:at + (len(padded) - at) // 8 * 8].view("<u8") for at in range(8)]


def traces_of(delta):
    """8-byte numbers that would betray a delta: pairs of neighbours as floats, single doubles, and pairs of encoded
    words (rounded down or up). Values near zero are left out: they look like padding."""
    encoded = delta.astype(np.float64) * SCALE
    telling = np.abs(encoded) > 1000
    pairs = telling[:-1] & telling[1:]
    floats = delta.astype("<f4")
    found = [np.stack([floats[:-1], floats[1:]], 1)[pairs].copy().view("<u8").ravel(),
             delta.astype("<f8")[telling].view("<u8")]
    for first in (np.floor, np.ceil):
        for second in (np.floor, np.ceil):
            words = np.stack([first(encoded[:-1]), second(encoded[1:])], 1)[pairs].astype("<i4")
            found.append(words.copy().view("<u8").ravel())
    return np.unique(np.concatenate(found))


def occurrences(windows, traces):
    return sum(int(np.isin(window, traces).sum()) for window in windows)


class Spool:
    """A node's upload as the coordinator stores it: the header's length, the header, the packed words."""

    def __init__(self, path):
        data = path.read_bytes()
        length, = struct.unpack_from("<I", data)
        self.packed = data[4 + length:]
        self.words = np.frombuffer(self.packed, "<i4")


class BlindCoordinatorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.there = there = small_federation.SmallFederation()
        cls.addClassCleanup(there.__exit__, None, None, None)
        there.coordinator.stop()
        there.start_coordinator("coordinator-sum-written")
        there.start_run(there.settings("watched"))
        there.coordinator.wait_for_kill("coordinator-sum-written", there.logs)
        cls.deltas = {node.name: np.fromfile(node.home / "work/job/delta.f32", "<f4") for node in there.nodes}
        cls.inputs = {node.name: Spool(next(there.data.glob(f"spool/*/*/*/{node.node_id}.input")))
                      for node in there.nodes}
        cls.sum = np.frombuffer(next(there.data.glob("spool/*/*/*/sum")).read_bytes(), "<i4")
        cls.everything = b"\0".join(path.read_bytes() for path in [there.coordinator.log, *there.data.rglob("*")]
                                    if path.is_file())
        print(f"the coordinator holds {len(cls.everything)} bytes; a vector has {len(cls.sum)} words", flush=True)

    def test_each_nodes_delta_is_what_the_test_expects(self):
        for name, delta in self.deltas.items():
            self.assertEqual(len(delta), len(self.there.deltas[name]))
            self.assertGreater(np.count_nonzero(delta), 0.9 * len(delta))

    def test_a_nodes_vector_is_uniform(self):
        for name, spool in self.inputs.items():
            sigmas = uniform_bytes(spool.packed)
            print(f"{name}: chi-square of {len(spool.packed)} bytes is {sigmas:+.2f} sigma from uniform", flush=True)
            self.assertLess(abs(sigmas), SIGMAS, name)
        # The same measure does see what is not masked.
        self.assertGreater(uniform_bytes(self.sum.tobytes()), 100)

    def test_a_nodes_vector_has_nothing_to_do_with_its_delta_or_with_others(self):
        length = len(self.deltas["baker"])
        for name, spool in self.inputs.items():
            sigmas = correlation(spool.words[:length], self.deltas[name])
            print(f"{name}: correlation of vector and delta is {sigmas:+.2f} sigma", flush=True)
            self.assertLess(abs(sigmas), SIGMAS, name)
            for other, another in self.inputs.items():
                if other < name:
                    self.assertLess(abs(correlation(spool.words, another.words)), SIGMAS, (name, other))
        total = sum(self.deltas.values())
        self.assertGreater(correlation(self.sum[:length], total), 100)

    def test_adding_the_vectors_up_without_the_shares_opens_nothing(self):
        added = sum(spool.words.astype(np.int64) for spool in self.inputs.values()).astype(np.uint32)
        self.assertLess(abs(uniform_bytes(added.astype("<u4").tobytes())), SIGMAS)

    def test_the_sum_is_the_sum_of_the_encoded_deltas(self):
        length = len(self.deltas["baker"])
        wanted = sum(delta.astype(np.float64) * SCALE for delta in self.deltas.values())
        difference = np.abs(self.sum[:length] - wanted)
        print(f"sum: at most {difference.max():.2f} units of 2^-{VALUE_BITS - 1} from the plain sum", flush=True)
        # Each of the five rounds by less than one unit; the four words after the delta count the contributors.
        self.assertLess(difference.max(), len(self.deltas))
        self.assertEqual(self.sum[length:length + 4].tolist(), [len(self.deltas)] * 4)

    def test_no_delta_is_in_the_coordinators_folder(self):
        windows = eight_byte_windows(self.everything)
        for name, delta in self.deltas.items():
            traces = traces_of(delta)
            self.assertGreater(len(traces), len(delta))
            self.assertEqual(occurrences(windows, traces), 0, name)
            # The search does find a delta where there is one.
            self.assertGreater(occurrences(eight_byte_windows(b"x" + delta.tobytes()), traces), len(delta) // 2)

    def test_no_training_text_is_in_the_coordinators_folder(self):
        for name in small_federation.NODES:
            text = (self.there.folder / "texts" / name / "texts.jsonl").read_bytes()
            shingles = {text[at:at + SHINGLE_BYTES] for at in range(0, len(text) - SHINGLE_BYTES, SHINGLE_BYTES)
                        if b'"text"' not in text[at:at + SHINGLE_BYTES]}
            found = [shingle for shingle in shingles if shingle in self.everything]
            self.assertEqual(found, [], name)

    def test_the_round_goes_on_afterwards(self):
        self.there.start_coordinator()
        status = self.there.wait_for_end("watched")
        self.assertEqual(status["rounds"][-1]["contributors"], len(self.there.nodes))
        names = self.there.check_first_version("watched", len(self.there.nodes))
        self.assertEqual(names, set(small_federation.NODES))


if __name__ == "__main__":
    federation.main()
