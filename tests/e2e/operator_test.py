# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""What an operator does, and what others may not do: invites, strangers, stops, restarts, and a run that learns."""

import json
import re
import shutil
import socket
import sqlite3
import ssl
import unittest

import adapters
import federation
import numpy as np

MODEL = federation.DEMO_MODEL
NAMES = ("baker", "gardener", "night-watch", "sailor")


class OperatorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.there = there = federation.Federation()
        cls.addClassCleanup(there.__exit__, None, None, None)
        there.start_coordinator()
        for name in NAMES:
            texts = there.folder / "texts" / name
            texts.mkdir(parents=True)
            shutil.copy(federation.DEMO_DATA / name / "train.jsonl", texts)
            there.enrol(name, texts, MODEL).start()

    def enrol(self, invite, name):
        return federation.run_program("choir", "node", "enrol", invite, "--home", self.there.folder / "homes" / name,
                                      "--name", name, "--data", self.there.folder / "texts/baker")

    def refused(self, done, says):
        self.assertGreater(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, says)

    # ---- Invites -----------------------------------------------------------------------------

    def test_invite_serves_one_device_once(self):
        invite = self.there.invite()
        first = self.enrol(invite, "first")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.refused(self.enrol(invite, "second"), "another device has used the invite")
        self.refused(self.enrol(invite, "first"), "belongs to a federation already")
        names = [node["name"] for node in self.there.choir("node", "list")]
        self.assertEqual((names.count("first"), names.count("second")), (1, 0))

    def test_expired_invite_is_refused_by_the_coordinator(self):
        invite = self.there.invite("--valid", "5m")
        # Instead of waiting for five minutes: what the coordinator remembers of it is made to end now.
        self.there.coordinator.stop()
        with sqlite3.connect(self.there.data / "choir.db") as database:
            changed = database.execute("UPDATE invites SET not_after_ms = 1 WHERE used_by = x''").rowcount
        self.there.start_coordinator()
        self.assertGreater(changed, 0)
        self.refused(self.enrol(invite, "late"), "expired")

    def test_invite_of_a_coordinator_that_is_gone_says_where_it_was(self):
        with federation.Federation(name="other") as other:
            other.start_coordinator()
            invite = other.invite()
            other.coordinator.kill()
            self.refused(self.enrol(invite, "stranger"), "127.0.0.1")

    # ---- Strangers ---------------------------------------------------------------------------

    def as_operator(self, folder):
        return federation.run_program("choir", "run", "list", "--operator", folder, "--address", self.there.address)

    def test_operator_of_another_federation_is_refused(self):
        with federation.Federation(name="other") as other:
            self.refused(self.as_operator(other.operator), "error")
            # Even if it trusts this federation's root: the coordinator does not trust its certificate.
            shutil.copy(self.there.operator / "root.pem", other.operator)
            self.refused(self.as_operator(other.operator), "error")
        self.assertEqual(self.as_operator(self.there.operator).returncode, 0)

    def test_node_may_not_call_as_operator(self):
        home, folder = self.there.nodes[0].home, self.there.folder / "node-as-operator"
        shutil.copytree(self.there.operator, folder)
        shutil.copy(home / "device.key", folder / "operator.key")
        certificates = re.findall(b"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n",
                                  (home / "membership.pb").read_bytes(), re.DOTALL)
        root = (folder / "root.pem").read_bytes()
        (folder / "operator.pem").write_bytes(b"".join(c for c in certificates if c.strip() not in root))
        self.refused(self.as_operator(folder), "for operators, not for node:")

    def handshake(self, address, version):
        """The version that the coordinator agreed to; None if it hung up."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        host, port = address.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), timeout=federation.PATIENCE_S) as plain, \
                    context.wrap_socket(plain) as tls:
                return tls.version()
        except (ssl.SSLError, ConnectionError):
            return None

    def test_only_tls_1_3_is_spoken(self):
        endpoints = json.loads((self.there.data / "endpoints.json").read_text())
        for name in ("coordinator", "enrolment"):
            self.assertIsNone(self.handshake(endpoints[name], ssl.TLSVersion.TLSv1_2), name)
            self.assertEqual(self.handshake(endpoints[name], ssl.TLSVersion.TLSv1_3), "TLSv1.3", name)

    # ---- Runs --------------------------------------------------------------------------------

    def held_out_nll(self, *adapter):
        return float(np.mean([federation.choir("eval", "--model", MODEL, *adapter, "--data",
                                               federation.DEMO_DATA / name / "test.jsonl", "--backend", "cpu",
                                               "--threads", 1)["mean_nll"] for name in NAMES]))

    def test_alternating_run_learns_and_changes_one_factor_a_round(self):
        rounds = 4
        run = self.there.start_run(federation.run_settings(
            "alternating", MODEL, cohort=4, run={"rounds": rounds}, lora={"rank": 8, "alpha": 16},
            training={"steps": 10, "learning_rate": 3e-3, "context": 128, "packing": "packed"},
            aggregation={"strategy": "alternating"}))
        status = self.there.wait_for_end(run)
        losses = [round_["mean_train_loss"] for round_ in status["rounds"]]
        versions = [self.there.pull(run, v, self.there.folder / f"alternating-{v}.gguf") for v in range(rounds + 1)]
        values = [adapters.read(path) for path in versions]
        for before, after in zip(values, values[1:]):
            changed = {name[-1] for name in before if np.any(before[name] != after[name])}
            self.assertEqual(len(changed), 1, "one round changed both factors, or none")
        before, after = self.held_out_nll(), self.held_out_nll("--adapter", versions[-1])
        print(f"training loss by round {[round(loss, 3) for loss in losses]}; held-out NLL {before:.4f} -> {after:.4f}",
              flush=True)
        self.assertLess(losses[-1], losses[0])
        self.assertLess(after, before - 0.01)

    def test_everything_may_restart_between_rounds(self):
        run = self.there.start_run(federation.run_settings("restarted", MODEL, cohort=4, run={"rounds": 3}))
        for ended in (1, 2):
            self.there.wait_for_rounds(run, ended)
            for daemon in (*self.there.nodes, self.there.coordinator):
                self.assertEqual(daemon.stop(), 0, daemon.tail())
            self.there.start_coordinator()
            for node in self.there.nodes:
                node.start()
        status = self.there.wait_for_end(run)
        self.assertEqual([r["contributors"] for r in status["rounds"] if r["phase"] == "published"], [4, 4, 4])

    def test_stopped_run_ends_at_once_and_frees_its_nodes(self):
        settings = federation.run_settings("endless", MODEL, cohort=4, training={"steps": 1000000},
                                           pacing={"training_wait_s": 6})
        run = self.there.start_run(settings)
        federation.wait_until(lambda: self.there.show(run)["rounds"][-1]["training"] == 4, "all to train",
                              logs=self.there.logs)
        stopped = self.there.choir("run", "stop", run)
        self.assertEqual(stopped["state"], "stopped")
        self.assertEqual(self.there.show(run)["rounds"][-1]["phase"], "abandoned")
        self.assertEqual(self.there.choir("run", "stop", run)["state"], "stopped")  # harmless twice
        after = self.there.start_run(federation.run_settings("after-the-stop", MODEL, cohort=4))
        self.assertEqual(self.there.wait_for_end(after)["rounds"][-1]["contributors"], 4)

    def test_same_file_twice_is_one_run_and_a_changed_one_is_refused(self):
        settings = federation.run_settings("twice", MODEL, cohort=4)
        for _ in range(2):
            self.there.start_run(settings)
        self.there.wait_for_end("twice")
        settings["training"]["steps"] = 3
        path = self.there.folder / "changed.toml"
        federation.write_toml(path, settings)
        self.refused(self.there.try_choir("run", "start", path), "twice")
        self.assertEqual([r["run"] for r in self.there.choir("run", "list")].count("twice"), 1)


if __name__ == "__main__":
    federation.main()
