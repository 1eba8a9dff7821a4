# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of nodes and of the coordinator at every named point, with real processes.

After each kill the process is started again, as a supervisor would, and the round must end published with the right
sum (small_federation.py says what is right), or abandoned with its reason and the next one published. Nothing may be
counted twice, the database must be whole at every kill, and every node must accept the chain of adapters.
"""

import hashlib
import shutil
import sqlite3
import unittest

import adapters
import federation
import small_federation

# In the order of a round. Two nodes die in each round, of two different points.
NODE_POINTS = (
    "node-task-saved", "node-fetched", "node-training", "node-trained", "node-joined", "node-session-journal-begun",
    "node-session-started", "node-advertise-journalled", "node-advertised", "node-share-journalled", "node-shared",
    "node-session-journalled", "node-masked-journalled", "node-departure-noted", "node-upload-chunk", "node-uploaded",
    "node-sign-journalled", "node-signed", "node-answer-journalled", "node-answered", "node-round-over",
    # The worker alone dies, after its checkpoint; its daemon starts another.
    "worker-step:11",
)
# In the order of a round; two in each.
COORDINATOR_POINTS = (
    "coordinator-run-started", "coordinator-check-in-before-commit", "coordinator-check-in-after-commit",
    "coordinator-cohort-before-commit", "coordinator-cohort-after-commit", "coordinator-message-before-commit",
    "coordinator-key-list-closed", "coordinator-share-delivery-closed", "coordinator-chunk-stored",
    "coordinator-upload-complete", "coordinator-input-counted", "coordinator-survivor-list-closed",
    "coordinator-survivor-signatures-closed", "coordinator-sum-written", "coordinator-sum-committed",
    "coordinator-merged-before-commit", "coordinator-published",
)
ALL = set(small_federation.NODES)


class FaultsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.there = small_federation.SmallFederation()
        cls.addClassCleanup(cls.there.__exit__, None, None, None)

    # ---- Steps -------------------------------------------------------------------------------

    def restart_node(self, name, failpoint=None):
        node = self.there.node(name)
        node.stop()
        node.start(failpoint)
        return node

    def restart_coordinator(self, failpoint=None):
        self.there.coordinator.stop()
        self.there.start_coordinator(failpoint)

    def check_database(self):
        """A copy of the database, as the kill left it, is whole."""
        copy = self.there.folder / "database"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in self.there.data.glob("choir.db*"):
            shutil.copy(path, copy)
        with sqlite3.connect(copy / "choir.db") as database:
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def check_chain(self, run, nodes=ALL):
        """Each node has the run's newest adapter, which it keeps only if the chain from the first one verifies."""
        published = self.there.pull(run, self.there.show(run)["adapter_version"],
                                    self.there.folder / f"{run}-newest.gguf").read_bytes()
        for name in nodes:
            node = self.there.node(name)
            federation.wait_until(lambda node=node: node.latest_adapter(run) == published,
                                  f"{name} to have {run}'s newest adapter", logs=self.there.logs)

    def check_ledgers(self):
        """No node was in two sums of one round, or twice in one session."""
        for node in self.there.nodes:
            departures = federation.choir("privacy", "--home", node.home)["departures"]
            sums = [(d["run"], d["round"]) for d in departures if d["in_the_sum"]]
            self.assertEqual(len(sums), len(set(sums)), node.name)

    def check_published(self, run, rounds=1):
        status = self.there.wait_for_end(run, 2 * federation.PATIENCE_S)
        self.assertEqual(len(status["rounds"]), rounds, status)
        last = status["rounds"][-1]
        self.assertEqual(last["phase"], "published")
        names = self.there.check_first_version(run, last["contributors"])
        print(f"  {run}: published, round {last['round']}, {last['contributors']} contributors", flush=True)
        return names

    # ---- Kills and restarts ------------------------------------------------------------------

    def test_1_undisturbed(self):
        self.there.start_run(self.there.settings("undisturbed"))
        self.assertEqual(self.check_published("undisturbed"), ALL)
        self.check_chain("undisturbed")
        # What decides "right" does refuse a sum in which one node was counted twice, for another or as a sixth.
        deltas = self.there.deltas
        twice = sum(deltas.values()) + deltas["baker"]
        for wrong in (twice / 6, twice / 5, (twice - deltas["sailor"]) / 5):
            sets = adapters.subsets_whose_mean_is(wrong, deltas, 5, small_federation.TOLERANCE)
            self.assertEqual(sets, [])

    def test_2_nodes_die_at_every_point_and_come_back(self):
        for i in range(0, len(NODE_POINTS), 2):
            with self.subTest(points=NODE_POINTS[i:i + 2]):
                self.kill_nodes(f"nodes-{i}", NODE_POINTS[i:i + 2], small_federation.NODES[i // 2 % 4:])
        self.check_ledgers()

    def kill_nodes(self, run, points, names):
        dying = [(self.restart_node(name, point), point) for name, point in zip(names, points)]
        self.there.start_run(self.there.settings(run))
        for node, point in dying:
            if point.startswith("worker-"):
                federation.wait_until(lambda node=node: "worker_died" in node.text(), f"the worker to die at {point}",
                                      logs=self.there.logs)
                continue
            node.wait_for_kill(point, self.there.logs)
            node.start()
            print(f"  {run}: {node.name} died at {point}", flush=True)
        self.assertEqual(self.check_published(run), ALL)
        self.check_chain(run)
        for node, point in dying:
            if point.startswith("worker-"):
                self.restart_node(node.name)  # its next workers shall live

    def test_3_coordinator_dies_at_every_point_and_comes_back(self):
        for i in range(0, len(COORDINATOR_POINTS), 2):
            with self.subTest(points=COORDINATOR_POINTS[i:i + 2]):
                self.kill_coordinator(f"coordinator-{i}", COORDINATOR_POINTS[i:i + 2])
        self.check_ledgers()

    def kill_coordinator(self, run, points):
        self.restart_coordinator(points[0])
        settings = self.there.folder / f"{run}.toml"
        federation.write_toml(settings, self.there.settings(run))
        done = self.there.try_choir("run", "start", settings)
        if points[0] == "coordinator-run-started":
            self.assertEqual(done.returncode, 4, done.stderr)  # nobody answered; asking again must do
        else:
            self.assertEqual(done.returncode, 0, done.stderr)
        for i, point in enumerate(points):
            self.there.coordinator.wait_for_kill(point, self.there.logs)
            print(f"  {run}: the coordinator died at {point}", flush=True)
            self.check_database()
            self.there.start_coordinator(points[i + 1] if i + 1 < len(points) else None)
        self.there.choir("run", "start", settings)
        self.assertEqual(self.check_published(run), ALL)
        self.check_chain(run)

    def test_4_enrolment_survives_a_kill_before_its_answer(self):
        self.restart_coordinator("coordinator-enrolled-before-answer")
        invite = self.there.invite()
        home, before = self.there.folder / "nodes/late", len(self.there.choir("node", "list"))
        enrol = ("node", "enrol", invite, "--home", home, "--name", "late", "--data", self.there.folder / "texts/baker")
        self.assertEqual(federation.run_program("choir", *enrol).returncode, 4)
        self.there.coordinator.wait_for_kill("coordinator-enrolled-before-answer", self.there.logs)
        self.check_database()
        self.there.start_coordinator()
        federation.choir(*enrol)
        self.assertEqual(len(self.there.choir("node", "list")), before + 1)

    # ---- Drop-outs: of five nodes, t = 4 must stay ---------------------------------------------

    def drop(self, run, dying, rounds=1, **tables):
        """Nodes that die, and stay dead until the round has ended; then they come back."""
        nodes = [self.restart_node(name, point) for name, point in dying.items()]
        tables.setdefault("pacing", {}).update(stage_wait_s=2)
        self.there.start_run(self.there.settings(run, **tables))
        for node in nodes:
            node.wait_for_kill(f"{dying[node.name]} in {run}", self.there.logs)
        self.there.wait_for_rounds(run, 1)
        for node in nodes:
            node.start()
        return self.check_published(run, rounds)

    def test_5_drop_outs_within_the_threshold_are_survived(self):
        victim = "sailor"
        others = ALL - {victim}
        for point, wanted in (("node-advertised", others), ("node-shared", others), ("node-masked-journalled", others),
                              ("node-uploaded", ALL), ("node-signed", ALL)):
            with self.subTest(point=point):
                self.assertEqual(self.drop(f"drop-{point}", {victim: point}), wanted)
        # The cohort waits for those who still train, but not for ever: on a slow machine others may come too late.
        names = self.drop("drop-in-training", {victim: "node-training"}, pacing={"cohort_wait_s": 4})
        self.assertLessEqual(names, others)
        self.assertGreaterEqual(len(names), 3)
        self.check_ledgers()

    def test_6_drop_outs_beyond_the_threshold_abandon_and_the_next_round_succeeds(self):
        for point, reason in (("node-shared", "too-few-survivors"), ("node-uploaded", "too-few-signatures")):
            with self.subTest(point=point):
                run = f"beyond-{point}"
                self.assertEqual(self.drop(run, {"baker": point, "gardener": point}, rounds=2), ALL)
                first = self.there.show(run)["rounds"][0]
                print(f"  {run}: round 1 abandoned: {first['reason']} ({first['reason_text']})", flush=True)
                self.assertEqual((first["phase"], first["reason"]), ("abandoned", reason))
        self.check_ledgers()

    def test_7_node_that_cannot_train_gives_up_and_is_not_waited_for(self):
        node, texts = self.there.node("sailor"), self.there.folder / "texts/sailor/texts.jsonl"
        good, began = texts.read_bytes(), node.text().count("round_ended")
        texts.write_bytes(b"{not json\n" * 10)
        try:
            run = self.there.start_run(self.there.settings("unusable", pacing={"cohort_wait_s": 4}))
            self.assertEqual(self.check_published(run), ALL - {"sailor"})
        finally:
            texts.write_bytes(good)
        # It asks again after pauses that double from half a second; without them it would be several times a second.
        tries = node.text().count("round_ended") - began
        self.assertTrue(1 <= tries <= 8, f"{tries} tries\n{node.tail()}")

    def test_8_everything_stops_cleanly(self):
        for node in self.there.nodes:
            self.assertEqual(node.stop(), 0, node.tail())
            # A stop may cut a synchronisation short; anything else means a chain that does not verify.
            self.assertNotRegex(node.text(), "adapter_sync .*(PERMISSION_DENIED|DATA_LOSS|INVALID)")
        self.assertEqual(self.there.coordinator.stop(), 0, self.there.coordinator.tail())
        self.check_database()
        digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in self.there.folder.glob("*-v1.gguf")}
        self.assertGreater(len(digests), 1)  # rounding is random: the runs are not copies of one another


if __name__ == "__main__":
    federation.main()
