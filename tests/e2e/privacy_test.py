# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Differential privacy through real processes: what is printed, signed and written down is what the noise costs.

The reference is computed here, from the definition: T rounds of a Gaussian mechanism of noise multiplier z have Renyi
divergence T a / (2 z^2) at order a, and epsilon is the smallest over the orders of that, converted (Canonne, Kamath,
Steinke 2020).
"""

import json
import math
import shutil
import unittest

import federation

DELTA = 1e-5
NOISE = 1.0
ORDERS = [tenths / 10 for tenths in range(11, 110)] + list(range(11, 64)) + [128, 256, 512, 1024]


def reference_epsilon(rounds, noise=NOISE, delta=DELTA):
    return min(rounds * a / (2 * noise ** 2) + math.log(1 - 1 / a) - math.log(delta * a) / (a - 1) for a in ORDERS)


class PrivacyTest(unittest.TestCase):
    def setUp(self):
        self.there = self.enterContext(federation.Federation())
        self.there.start_coordinator()
        for name in ("baker", "gardener", "night-watch", "sailor"):
            texts = self.there.folder / "texts" / name
            texts.mkdir(parents=True)
            shutil.copy(federation.DEMO_DATA / name / "train.jsonl", texts)
            self.there.enrol(name, texts, federation.DEMO_MODEL)

    def node(self, name):
        return next(node for node in self.there.nodes if node.name == name)

    def settings(self, name, cohort, rounds, privacy):
        settings = federation.run_settings(name, federation.DEMO_MODEL, cohort=cohort, run={"rounds": rounds},
                                           aggregation={"clip_norm": 1.0}, pacing={"cohort_wait_s": 3})
        settings["privacy"] = {"noise_multiplier": NOISE, "delta": DELTA, **privacy}
        return settings

    def ledger(self, name):
        return federation.choir("privacy", "--home", self.node(name).home)

    def wait_for_outcomes(self, name, count):
        def noted():
            departures = self.ledger(name)["departures"]
            return departures if sum(d["in_the_sum"] for d in departures) >= count else None
        return federation.wait_until(noted, f"{name} to have written down {count} outcomes", logs=self.there.logs)

    def test_promises_budgets_and_ledgers(self):
        # The owner of this one allows a single round.
        careful = self.node("sailor")
        config = careful.home / "node.toml"
        config.write_text(config.read_text() + f"\n[privacy]\nmax_epsilon = {reference_epsilon(1) + 0.2}\n")
        for node in self.there.nodes:
            node.start()
        with self.subTest("what is printed, signed and written down"):
            self.check_promises()
        with self.subTest("a node refuses on its own"):
            self.check_own_budget(careful)
        with self.subTest("what was spent survives a restart"):
            self.check_restart()
        careful.kill()
        with self.subTest("a run without enough budget"):
            self.check_run_budget()
        with self.subTest("central noise and adaptive clipping"):
            self.check_central()
        with self.subTest("a damaged ledger"):
            self.check_damaged_ledger("baker")

    def check_promises(self):
        self.there.start_run(self.settings("shared", 4, 2, {"mechanism": "discrete-gaussian"}))
        status = self.there.wait_for_end("shared")
        self.assertEqual([r["contributors"] for r in status["rounds"]], [4, 3], status)
        self.assertAlmostEqual(status["rounds"][0]["epsilon"], reference_epsilon(1), delta=1e-6)
        self.assertAlmostEqual(status["privacy"]["epsilon"], reference_epsilon(2), delta=1e-6)
        # No loss and no count of tokens leaves a node beside the noise.
        self.assertEqual({(r["mean_train_loss"], r["trained_tokens"]) for r in status["rounds"]}, {(0, 0)})
        departures = self.wait_for_outcomes("baker", 2)
        for number, departure in enumerate(departures, 1):
            self.assertEqual(departure["mechanism"], "discrete-gaussian")
            self.assertEqual(departure["noise_multiplier"], NOISE)
            self.assertEqual(departure["clip_norm"], 1.0)
            self.assertEqual(len(departure["input_hash"]), 64)
            self.assertEqual(len(departure["result_hash"]), 64)
            self.assertAlmostEqual(departure["epsilon"], reference_epsilon(number), delta=1e-6)
            self.assertAlmostEqual(departure["run_epsilon"], reference_epsilon(number), delta=1e-6)
        shown = self.there.try_choir("run", "show", "shared").stdout
        self.assertIn(f"epsilon {reference_epsilon(2):.4f} at delta 1e-05", shown)

    def check_own_budget(self, node):
        self.assertEqual(len(self.wait_for_outcomes(node.name, 1)), 1)
        self.assertAlmostEqual(self.ledger(node.name)["epsilon"], reference_epsilon(1), delta=1e-6)
        self.assertIn("privacy-budget-exhausted", self.there.coordinator.text())
        status = federation.choir("node", "status", "--home", node.home)
        self.assertAlmostEqual(status["epsilon"], reference_epsilon(1), delta=1e-6)
        self.assertIn("past its owner's budget", status["detail"])

    def check_restart(self):
        self.there.coordinator.kill()
        self.there.start_coordinator()
        status = federation.wait_until(lambda: self.there.show("shared"), "the coordinator to be back",
                                       logs=self.there.logs)
        self.assertAlmostEqual(status["privacy"]["epsilon"], reference_epsilon(2), delta=1e-6)

    def check_run_budget(self):
        budget = reference_epsilon(1) + 0.2
        self.there.start_run(self.settings("poor", 3, 5, {"mechanism": "skellam", "budget_epsilon": budget}))
        def ended():
            status = self.there.show("poor")
            return status if status is not None and status["state"] != "running" else None
        status = federation.wait_until(ended, "the run to end", logs=self.there.logs)
        self.assertEqual((status["state"], status["rounds_published"]), ("stopped", 1))
        self.assertIn(f"round 2 would bring epsilon from {reference_epsilon(1):.4f} to {reference_epsilon(2):.4f}",
                      status["reason"])
        self.assertLessEqual(status["privacy"]["epsilon"], budget)
        watched = self.there.try_choir("run", "watch", "poor")
        self.assertNotEqual(watched.returncode, 0)
        self.assertIn("past the run's budget", watched.stderr)
        path = self.there.folder / "poorer.toml"
        federation.write_toml(path, self.settings("poorer", 3, 5, {"mechanism": "skellam", "budget_epsilon": 1.0}))
        refused = self.there.try_choir("run", "start", path)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("round 1 would bring epsilon from 0.0000", refused.stderr)

    def check_central(self):
        self.there.start_run(self.settings("central", 3, 1, {"mechanism": "central-gaussian", "adaptive_clip": True}))
        status = self.there.wait_for_end("central")
        self.assertLessEqual(status["privacy"]["epsilon"], reference_epsilon(1) + 1e-9)
        self.assertAlmostEqual(status["privacy"]["epsilon"], reference_epsilon(1), delta=1e-3)
        last = status["rounds"][-1]["clip_norm"]
        self.assertTrue(math.exp(-0.1) - 1e-9 <= last <= math.exp(0.1) + 1e-9, last)
        # Three runs together, as the device's own account has them.
        departures = self.wait_for_outcomes("baker", 4)
        self.assertAlmostEqual(departures[-1]["epsilon"], reference_epsilon(4), delta=1e-3)

    def check_damaged_ledger(self, name):
        node = self.node(name)
        node.kill()
        path = node.home / "ledger.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        self.assertEqual(json.loads(lines[0])["entry"]["kind"], "left")
        path.write_text("".join(lines[2:]))
        shown = federation.run_program("choir", "privacy", "--home", node.home)
        self.assertNotEqual(shown.returncode, 0)
        self.assertIn("damaged-ledger", shown.stderr)
        started = federation.run_program("choird", "--home", node.home)
        self.assertNotEqual(started.returncode, 0)
        self.assertIn("damaged-ledger", started.stdout + started.stderr)


if __name__ == "__main__":
    federation.main()
