# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Strategies through real processes: personal adapters, cores, slices, server optimizers, the evaluation gate."""

import shutil
import stat
import unittest

import adapters
import federation
import numpy as np

MODEL = federation.DEMO_MODEL
NAMES = ("baker", "gardener", "night-watch", "sailor")


def parts(path, ending):
    """The A or the B of an adapter as one vector."""
    tensors = {name: value for name, value in adapters.read(path).items() if name.endswith(ending)}
    return adapters.flat(tensors)


class StrategiesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.there = there = federation.Federation()
        cls.addClassCleanup(there.__exit__, None, None, None)
        there.start_coordinator()
        for i, name in enumerate(NAMES):
            texts = there.folder / "texts" / name
            texts.mkdir(parents=True)
            shutil.copy(federation.DEMO_DATA / name / "train.jsonl", texts)
            node = there.enrol(name, texts, MODEL)
            if i % 2:  # half of the devices are small
                config = node.home / "node.toml"
                config.write_text(config.read_text().replace("[policy]\n", "[policy]\nmax_rank = 4\n"))
            node.start()

    def run_to_its_end(self, name, rounds=2, **tables):
        tables = {table: dict(values) for table, values in tables.items()}
        tables.setdefault("run", {})["rounds"] = rounds
        self.there.start_run(federation.run_settings(name, MODEL, len(NAMES), **tables))
        return self.there.wait_for_end(name, seconds=2 * federation.PATIENCE_S)

    def pull(self, run, version):
        return self.there.pull(run, version, self.there.folder / f"{run}-{version}.gguf")

    def uploads(self, run):
        """What each round's nodes sent, masked."""
        return [r["received_bytes"] for r in self.there.show(run)["rounds"]]

    def test_share_a_leaves_each_node_with_a_b_of_its_own(self):
        self.run_to_its_end("personal", rounds=3, aggregation={"strategy": "share-a"})
        common = self.pull("personal", 3)
        self.assertEqual(np.max(np.abs(parts(common, "lora_b"))), 0, "no B reached the coordinator")
        own = []
        for node in self.there.nodes:
            federation.wait_until(lambda n=node: n.latest_adapter("personal") == common.read_bytes(),
                                  "the last version", logs=self.there.logs)
            path = node.home / "adapters/personal/personal.gguf"
            federation.wait_until(lambda p=path: np.array_equal(parts(p, "lora_a"), parts(common, "lora_a")),
                                  "the newest common A", logs=self.there.logs)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            own.append(parts(path, "lora_b"))
        for i, b in enumerate(own):
            self.assertGreater(np.max(np.abs(b)), 0)
            for other in own[:i]:
                self.assertGreater(np.max(np.abs(b - other)), 1e-4)

    def test_latent_sends_cores_after_the_first_round_and_learns(self):
        status = self.run_to_its_end("cores", rounds=3, aggregation={"strategy": "latent"},
                                     training={"steps": 8, "learning_rate": 0.02})
        first, second, third = self.uploads("cores")
        self.assertLess(second, first / 5)
        self.assertLess(third, first / 5)
        losses = [r["mean_train_loss"] for r in status["rounds"]]
        self.assertLess(losses[2], losses[0])
        moved = parts(self.pull("cores", 3), "lora_b") - parts(self.pull("cores", 1), "lora_b")
        self.assertGreater(np.max(np.abs(moved)), 0)
        self.assertTrue(np.array_equal(parts(self.pull("cores", 3), "lora_a"), parts(self.pull("cores", 1), "lora_a")))

    def test_sketch_takes_two_rounds_and_trains_once(self):
        status = self.run_to_its_end("sketched", rounds=4, aggregation={"strategy": "sketch"}, training={"steps": 8})
        losses = [r["mean_train_loss"] for r in status["rounds"]]
        # The second round sends another sketch of the same training; slots of the loss have steps of 2^-16.
        self.assertAlmostEqual(losses[0], losses[1], delta=1e-4)
        self.assertAlmostEqual(losses[2], losses[3], delta=1e-4)
        self.assertLess(losses[2], losses[0])
        versions = [self.pull("sketched", version).read_bytes() for version in range(5)]
        self.assertEqual((versions[0], versions[2]), (versions[1], versions[3]))
        self.assertEqual(len(set(versions)), 3)
        for node in self.there.nodes:
            federation.wait_until(lambda n=node: not (n.home / "adapters/sketched/kept").exists(),
                                  "what was kept to be gone", logs=self.there.logs)

    def test_slices_let_small_devices_take_part(self):
        status = self.run_to_its_end("sliced", lora={"rank": 8}, aggregation={"strategy": "ffa", "slices": True})
        self.assertEqual([r["contributors"] for r in status["rounds"]], [len(NAMES)] * 2)

    def test_server_optimizer_goes_on_where_a_killed_coordinator_was(self):
        tables = {"lora": {"rank": 4}, "training": {"steps": 2, "proximal_mu": 0.1},
                  "aggregation": {"server_optimizer": "fedadam"}}
        self.run_to_its_end("adam", rounds=3, **tables)
        name = self.there.start_run(federation.run_settings("adam-killed", MODEL, len(NAMES), run={"rounds": 3},
                                                            **tables))
        self.there.wait_for_rounds(name, 1)
        self.there.coordinator.kill()
        self.there.start_coordinator()
        self.there.wait_for_end(name, seconds=2 * federation.PATIENCE_S)
        # Masks are others, and so is the rounding of the fixed point, which FedAdam amplifies where an update is near
        # zero. Without its moments the next step would be another by some thousandths.
        wanted = adapters.flat(adapters.read(self.pull("adam", 3)))
        self.assertLess(np.max(np.abs(adapters.flat(adapters.read(self.pull(name, 3))) - wanted)), 3e-4)

    def test_gate_publishes_what_is_better_and_refuses_what_is_worse(self):
        held_out = self.there.folder / "held-out.jsonl"
        held_out.write_bytes(b"".join((federation.DEMO_DATA / name / "test.jsonl").read_bytes() for name in NAMES))
        gate = {"data": str(held_out), "margin": 0.01}
        status = self.run_to_its_end("gated", training={"steps": 4}, gate=gate)
        nlls = [r["held_out_nll"] for r in status["rounds"]]
        self.assertLess(nlls[1], nlls[0])
        settings = federation.run_settings("wild", MODEL, len(NAMES), training={"steps": 4, "learning_rate": 0.3},
                                           gate=gate)
        self.there.start_run(settings)
        status = self.there.wait_for_rounds("wild", 2)
        self.there.choir("run", "stop", "wild")
        for ended in status["rounds"][:2]:
            self.assertEqual((ended["phase"], ended["reason"]), ("abandoned", "worse-than-parent"))
            self.assertRegex(ended["reason_text"], r"held-out NLL \d+\.\d+ after the merge, \d+\.\d+ before")


if __name__ == "__main__":
    federation.main()
