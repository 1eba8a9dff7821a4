# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""A federation of real processes on loopback, for the end-to-end tests.

Founds one in a temporary folder, starts its coordinator and nodes on free ports, restarts any of them, asks them
through the programs' own --json, and ends them all. Every wait is bounded and says what it waited for. Needs the
programs' folder in CHOIR_BIN; reference data, where a test uses it, in CHOIR_TEST_DATA (default ../shared/data).
CHOIR_E2E_KEEP=1 keeps the folder, with every process's log, and says where it is.
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# Sanitized builds take several times as long; ctest says so.
_SLOWNESS = int(os.environ.get("CHOIR_SLOWNESS", "1"))
BIN = pathlib.Path(os.environ.get("CHOIR_BIN", REPOSITORY / "build/dev/bin"))
DEMO_MODEL = REPOSITORY / "deploy/demo/model.gguf"
DEMO_DATA = REPOSITORY / "deploy/demo/data"
# A loaded machine may be twenty times slower than a quiet one; nothing here takes more than 3 s on a quiet one.
PATIENCE_S = 60
_SKIPPED = 77  # what ctest takes as "skipped" (SKIP_RETURN_CODE)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Failure(AssertionError):
    """Something that should have happened did not; str() has the logs."""


def test_data():
    """The folder of reference data; skips the test, or fails it under CHOIR_REQUIRE_TEST_DATA=1, if it is absent."""
    folder = pathlib.Path(os.environ.get("CHOIR_TEST_DATA", REPOSITORY / "../shared/data"))
    if (folder / "models").is_dir():
        return folder.resolve()
    message = f"the reference data is not in {folder}: set CHOIR_TEST_DATA to its folder"
    if os.environ.get("CHOIR_REQUIRE_TEST_DATA") == "1":
        raise Failure(message)
    raise unittest.SkipTest(message)


def main():
    """unittest.main, with an exit code of its own when every test was skipped."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if result.wasSuccessful() and result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(_SKIPPED)
    sys.exit(not result.wasSuccessful())


def wait_until(condition, what, seconds=PATIENCE_S, logs=lambda: ""):
    """Polls until condition() is true, and returns what it returned."""
    seconds *= _SLOWNESS
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s for: {what}\n{logs()}")
        time.sleep(0.02)


def _environment(failpoint):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHOIR_") or k == "CHOIR_TEST_DATA"}
    if failpoint:
        environment["CHOIR_FAILPOINT"] = failpoint
    return environment


def _die_with_parent():
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_program(program, *arguments, seconds=PATIENCE_S, cwd=None):
    """Runs one of the programs to its end; a CompletedProcess with text."""
    return subprocess.run([BIN / program, *map(str, arguments)], env=_environment(None), cwd=cwd,
                          timeout=seconds * _SLOWNESS,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          errors="replace", preexec_fn=_die_with_parent, check=False)


def choir(*arguments, **options):
    """A `choir` command that must succeed; its --json output (of several lines, the last)."""
    done = run_program("choir", *arguments, "--json", **options)
    if done.returncode != 0:
        raise Failure(f"choir {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines else None


class Daemon:
    """A long-running program that may be killed and started again; its log grows through all of its lives."""

    def __init__(self, name, command, log):
        self.name, self.command, self.log = name, [str(c) for c in command], pathlib.Path(log)
        self.process = None

    def start(self, failpoint=None):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=_environment(failpoint), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def wait_for_kill(self, what, logs=lambda: "", seconds=PATIENCE_S):
        """Until it has died at its failpoint."""
        wait_until(lambda: not self.is_running(), f"{self.name} to die at {what}", seconds, logs)
        if self.process.returncode != -signal.SIGKILL:
            raise Failure(f"{self.name} ended with {self.process.returncode} before {what}\n{logs()}")

    def kill(self):
        if self.is_running():
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def stop(self):
        """Asks it to stop; its exit code."""
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired as error:
                self.kill()
                raise Failure(f"{self.name} did not stop within {PATIENCE_S} s\n{self.tail()}") from error
        return self.process.returncode

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=25):
        return f"--- {self.name}\n" + "\n".join(self.text().splitlines()[-lines:]) + "\n"


class Node(Daemon):
    def __init__(self, name, home, log):
        super().__init__(name, [BIN / "choird", "--home", home, "--log-level", "info"], log)
        self.home = pathlib.Path(home)
        self.node_id = ""

    def latest_adapter(self, run):
        """What the node has of a run's adapters: it keeps one only if the whole signed chain verified."""
        path = self.home / "adapters" / run / "latest.gguf"
        return path.read_bytes() if path.exists() else None


class Federation:
    def __init__(self, name="e2e", min_cohort=3):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="choir-e2e-"))
        self.data, self.operator = self.folder / "coordinator", self.folder / "operator"
        self.nodes = []
        self.coordinator = None
        self.address = None
        choir("federation", "init", "--name", name, "--authority", self.folder / "authority", "--data", self.data,
              "--operator", self.operator, "--address", "127.0.0.1:0", "--min-cohort", min_cohort)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        if os.environ.get("CHOIR_E2E_KEEP"):
            print(f"kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self):
        for daemon in [*self.nodes, self.coordinator]:
            if daemon is not None:
                daemon.kill()

    def logs(self):
        return "".join(daemon.tail() for daemon in [self.coordinator, *self.nodes] if daemon is not None)

    # ---- Processes ---------------------------------------------------------------------------

    def start_coordinator(self, failpoint=None):
        """The first start takes any free ports; later ones the same again."""
        if self.coordinator is None:
            self.coordinator = Daemon("coordinator", self._coordinator_command("127.0.0.1:0", "127.0.0.1:0"),
                                      self.folder / "coordinator.log")
        endpoints = self.data / "endpoints.json"
        endpoints.unlink(missing_ok=True)
        self.coordinator.start(failpoint)
        wait_until(lambda: endpoints.exists() or not self.coordinator.is_running(), "the coordinator to listen",
                   logs=self.logs)
        if not endpoints.exists():
            raise Failure(f"the coordinator ended with {self.coordinator.process.returncode}\n{self.logs()}")
        found = json.loads(endpoints.read_text())
        self.address = found["coordinator"]
        self.coordinator.command = self._coordinator_command(self.address, found["enrolment"])

    def _coordinator_command(self, listen, enrol_listen):
        return [str(BIN / "choir-coordinator"), "--data", str(self.data), "--listen", listen, "--enrol-listen",
                enrol_listen]

    def enrol(self, name, data, model, min_cohort=3):
        """A new node, enrolled and not yet started. It trains on one CPU thread: the same on every machine."""
        home = self.folder / "nodes" / name
        answer = choir("node", "enrol", self.invite(), "--home", home, "--name", name, "--data", data, "--model",
                       model, "--consent", "auto", "--min-cohort", min_cohort, "--backend", "cpu", "--threads", 1)
        config = home / "node.toml"
        # Tests wait for the worker: it need not be nice.
        config.write_text(config.read_text().replace("[engine]\n", "[engine]\nnice = 0\n"))
        node = Node(name, home, self.folder / f"node-{name}.log")
        node.node_id = answer["node_id"]
        self.nodes.append(node)
        return node

    # ---- What the operator does --------------------------------------------------------------

    def choir(self, *arguments, **options):
        return choir(*arguments, "--operator", self.operator, "--address", self.address, **options)

    def try_choir(self, *arguments):
        return run_program("choir", *arguments, "--operator", self.operator, "--address", self.address)

    def invite(self, *arguments):
        return self.choir("invite", "create", *arguments)["invite"]

    def start_run(self, settings):
        """settings: the run file as {table: {key: value}}; returns the run's name."""
        path = self.folder / f"{settings['run']['name']}.toml"
        write_toml(path, settings)
        self.choir("run", "start", path)
        return settings["run"]["name"]

    def show(self, run):
        """The run's status; None while the coordinator does not answer."""
        done = run_program("choir", "run", "show", run, "--operator", self.operator, "--address", self.address,
                           "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_for_end(self, run, seconds=PATIENCE_S):
        """The run's status once it has finished."""
        def ended():
            status = self.show(run)
            return status if status is not None and status["state"] != "running" else None
        status = wait_until(ended, f"run {run} to end", seconds, self.logs)
        if status["state"] != "finished":
            raise Failure(f"run {run} is {status['state']}: {status['reason']}\n{self.logs()}")
        return status

    def wait_for_rounds(self, run, rounds, seconds=PATIENCE_S):
        """The run's status once so many rounds have ended."""
        def ended():
            status = self.show(run)
            done = 0 if status is None else sum(r["phase"] in ("published", "abandoned") for r in status["rounds"])
            return status if done >= rounds else None
        return wait_until(ended, f"{rounds} rounds of {run} to end", seconds, self.logs)

    def pull(self, run, version, path):
        self.choir("adapter", "pull", run, "--version", version, "--output", path)
        return pathlib.Path(path)


def run_settings(name, model, cohort, **tables):
    """A small run's settings: short waits, every node in one cohort, equal weights; `tables` change them."""
    settings = {
        "run": {"name": name, "base_model": str(model), "rounds": 1},
        "lora": {"rank": 4, "alpha": 8},
        "training": {"steps": 2, "learning_rate": 1e-3, "weight_decay": 0, "context": 64, "batch": 1,
                     "packing": "windows", "compute": "f32"},
        "aggregation": {"strategy": "fedavg", "min_cohort": 3, "target_cohort": cohort, "max_cohort": cohort,
                        "equal_weights": True},
        "pacing": {"select_wait_s": 60, "training_wait_s": 60, "cohort_wait_s": 30, "stage_wait_s": 30,
                   "over_selection": 0},
    }
    for table, values in tables.items():
        settings.setdefault(table, {}).update(values)
    return settings


def write_toml(path, settings):
    def text(value):
        return json.dumps(value) if isinstance(value, (str, bool)) else repr(value)
    pathlib.Path(path).write_text("".join(
        f"[{table}]\n" + "".join(f"{key} = {text(value)}\n" for key, value in values.items())
        for table, values in settings.items()))
