# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Five nodes with the demo's model and texts, and what each of them must contribute, worked out without a federation.

Training is deterministic on one CPU thread, and a run's first round always starts from the same adapter and the same
windows. So `choir train` on a node's own texts gives the delta that the node masks, and a published adapter is right if
and only if it is the start plus the plain mean of the deltas of as many *different* nodes as the round counted.
"""

import shutil

import adapters
import federation

STEPS = 12  # more than a worker's checkpoint interval (10), so that a killed worker goes on from one
NODES = ("baker", "gardener", "night-watch", "sailor", "sailor-two")
# The fixed point of 32-bit words has steps of 2^-28 here, and adapters are float32: values below 1 have steps of 2^-24.
TOLERANCE = 2e-7


class SmallFederation(federation.Federation):
    def __init__(self):
        super().__init__()
        self.model = federation.DEMO_MODEL
        self.start = self._first_adapter()
        self.start_coordinator()
        for name in NODES:
            self.enrol(name, self._texts(name), self.model).start()
        self.deltas = {node.name: self._delta(node.name) for node in self.nodes}

    def _texts(self, name):
        folder = self.folder / "texts" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            speaker, part = (name, "train") if name != "sailor-two" else ("sailor", "test")
            shutil.copy(federation.DEMO_DATA / speaker / f"{part}.jsonl", folder / "texts.jsonl")
        return folder

    def _train(self, name, output, *options):
        federation.choir("train", "--model", self.model, "--data", self._texts(name), "--output", output, "--ctx", 64,
                         "--packing", "windows", "--lr", 1e-3, "--weight-decay", 0, "--compute", "f32", "--backend",
                         "cpu", "--threads", 1, *options)
        return output

    def _first_adapter(self):
        # Trained a little: with B = 0 the gradient of A vanishes, and half of the vector would be zeros.
        return self._train("baker", self.folder / "start.gguf", "--steps", 3, "--rank", 4, "--alpha", 8)

    def _delta(self, name):
        trained = self._train(name, self.folder / f"trained-{name}.gguf", "--steps", STEPS, "--init", self.start)
        return adapters.flat(adapters.read(trained)) - adapters.flat(adapters.read(self.start))

    def settings(self, name, **tables):
        settings = federation.run_settings(name, self.model, cohort=len(NODES),
                                           run={"initial_adapter": str(self.start)}, training={"steps": STEPS})
        for table, values in tables.items():
            settings[table].update(values)
        return settings

    def node(self, name):
        return next(node for node in self.nodes if node.name == name)

    def check_first_version(self, run, contributors):
        """The names of the nodes in the run's first version; fails if it is not their plain mean."""
        adapter = self.pull(run, 1, self.folder / f"{run}-v1.gguf")
        found = adapters.flat(adapters.read(adapter)) - adapters.flat(adapters.read(self.start))
        sets = adapters.subsets_whose_mean_is(found, self.deltas, contributors, TOLERANCE)
        if len(sets) != 1:
            raise federation.Failure(f"{run}: version 1 is the mean of {len(sets)} sets of {contributors} nodes, "
                                     f"not of exactly one\n{self.logs()}")
        return set(sets[0][0])
