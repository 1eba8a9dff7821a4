# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""What the authority does to a running federation: manifests, revocation in the middle of a round, renewal."""

import json
import shutil
import sqlite3
import unittest

import federation

MODEL = federation.DEMO_MODEL
NAMES = ("baker", "gardener", "night-watch", "sailor")


class AuthorityTest(unittest.TestCase):
    def setUp(self):
        self.there = there = federation.Federation()
        self.addCleanup(there.__exit__, None, None, None)
        self.authority = there.folder / "authority"
        there.start_coordinator()
        for name in NAMES:
            texts = there.folder / "texts" / name
            texts.mkdir(parents=True)
            shutil.copy(federation.DEMO_DATA / name / "train.jsonl", texts)
            there.enrol(name, texts, MODEL).start()

    def refused(self, done, says):
        self.assertGreater(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, says)

    def manifest_of(self, node):
        """The serial that a node goes by: from its membership, as the choir program reads it."""
        done = federation.run_program("choir", "node", "status", "--home", node.home, "--json")
        return json.loads(done.stdout).get("manifest_serial", 0) if done.returncode == 0 else 0

    def test_manifest_is_signed_published_and_taken_up(self):
        before = self.there.choir("federation", "manifest", "show")
        self.assertEqual((before["serial"], before["min_cohort"], before["revoked"]), (1, 3, []))
        shutil.copy(self.authority / "manifest.pb", self.there.folder / "old.pb")
        signed = federation.choir("federation", "manifest", "sign", "--authority", self.authority, "--min-cohort", 4,
                                  "--allow-model", MODEL, "--valid-days", 20)
        self.assertEqual((signed["serial"], signed["min_cohort"], len(signed["base_models"])), (2, 4, 1))
        # Not yet: it is signed, not published.
        self.assertEqual(self.there.choir("federation", "manifest", "show")["serial"], 1)
        for _ in range(2):  # harmless twice
            published = self.there.try_choir("federation", "manifest", "publish", "--authority", self.authority)
            self.assertEqual(published.returncode, 0, published.stderr)
            self.assertIn("the manifest ends on", published.stderr)
        for node in self.there.nodes:
            federation.wait_until(lambda node=node: self.manifest_of(node) == 2, f"{node.name} to take it up",
                                  logs=self.there.logs)
        # An older one is refused, and so is a run below the new floor.
        old = self.there.folder / "old-authority"
        shutil.copytree(self.authority, old)
        shutil.copy(self.there.folder / "old.pb", old / "manifest.pb")
        self.refused(self.there.try_choir("federation", "manifest", "publish", "--authority", old),
                     "serial is 1; it must be above 2")
        path = self.there.folder / "below.toml"
        federation.write_toml(path, federation.run_settings("below", MODEL, cohort=4))
        self.refused(self.there.try_choir("run", "start", path), "min_cohort")
        run = self.there.start_run(federation.run_settings("at-the-floor", MODEL, cohort=4,
                                                           aggregation={"min_cohort": 4}))
        self.assertEqual(self.there.wait_for_end(run)["rounds"][-1]["contributors"], 4)

    def test_node_revoked_in_the_middle_of_a_round_is_shut_out(self):
        run = self.there.start_run(federation.run_settings("revoking", MODEL, cohort=4, training={"steps": 600},
                                                           pacing={"cohort_wait_s": 3}))
        federation.wait_until(lambda: self.there.show(run)["rounds"][-1]["training"] == 4, "all to train",
                              logs=self.there.logs)
        lost = self.there.nodes[-1]
        for _ in range(2):  # harmless twice
            shown = self.there.choir("federation", "revoke", lost.name, "--authority", self.authority)
            self.assertEqual((shown["serial"], shown["revoked"]), (2, [lost.node_id]))
        status = self.there.wait_for_end(run)
        self.assertEqual(status["rounds"][-1]["contributors"], 3, self.there.logs())
        states = {node["name"]: node["state"] for node in self.there.choir("node", "list")}
        self.assertEqual(states[lost.name], "revoked")
        federation.wait_until(lambda: "revoked" in lost.text(), "the node to learn of it", logs=self.there.logs)
        # Nor after a restart, of either.
        self.assertEqual(self.there.coordinator.stop(), 0)
        self.there.start_coordinator()
        before = len(lost.text())
        lost.stop()
        lost.start()
        federation.wait_until(lambda: "has been revoked" in lost.text()[before:], "the node to be refused again",
                              logs=self.there.logs)
        self.assertIn("there is no node nobody", self.there.try_choir(
            "federation", "revoke", "nobody", "--authority", self.authority).stderr)

    def test_renewed_certificates_serve_the_same_nodes(self):
        done = federation.choir("federation", "renew", "--authority", self.authority, "--data", self.there.data,
                                "--operator", self.there.operator, "--valid-days", 5)
        self.assertEqual(done["manifest_serial"], 2)
        self.assertEqual(self.there.coordinator.stop(), 0)
        self.there.start_coordinator()
        federation.wait_until(lambda: "the coordinator's certificate ends on" in self.there.coordinator.text(),
                              "the warning", logs=self.there.logs)
        listed = self.there.try_choir("node", "list")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn("the operator's certificate ends on", listed.stderr)
        run = self.there.start_run(federation.run_settings("renewed", MODEL, cohort=4))
        self.assertEqual(self.there.wait_for_end(run)["rounds"][-1]["contributors"], 4)

    def test_history_that_was_changed_is_not_downloaded(self):
        run = self.there.start_run(federation.run_settings("history", MODEL, cohort=4, run={"rounds": 2}))
        self.there.wait_for_end(run)
        self.assertEqual(len(self.there.choir("adapter", "list", run)), 3)
        self.there.coordinator.stop()
        with sqlite3.connect(self.there.data / "choir.db") as database:
            changed = database.execute("DELETE FROM versions WHERE version = 1").rowcount
        self.assertEqual(changed, 1)
        self.there.start_coordinator()
        output = self.there.folder / "pulled.gguf"
        self.refused(self.there.try_choir("adapter", "pull", run, "--output", output), "do not hold together")
        self.assertFalse(output.exists())


if __name__ == "__main__":
    federation.main()
