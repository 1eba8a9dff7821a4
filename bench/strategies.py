#!/usr/bin/env python3
# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Compares every strategy and server optimizer: held-out NLL against uploaded bytes (docs/results.md).

Each row is a run of its own through the real programs on loopback: one coordinator, one daemon a speaker of the
Shakespeare-by-role set, mutual TLS, secure aggregation. A node learns its speaker's lines; the result is judged on
the lines that were held out of each, and what a node uploaded is read from its ledger.

usage: bench/strategies.py [--model NAME]... [--only CONFIGURATION]... [--rounds N] [--json FILE]
Needs built programs (CHOIR_BIN, default build/dev/bin) and the reference data (CHOIR_TEST_DATA).
"""

import argparse
import json
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))
import federation  # noqa: E402  (the folder of the end-to-end tests)

SPEAKERS = 9
CONTEXT = 64
MODELS = {"stories260K": "stories260K-f32.gguf", "bitllama3M": "bitllama3M-tq2_0.gguf"}


def merging(**aggregation):
    return {"aggregation": aggregation}


# Settings that differ from the common ones below, in a run file's tables; "node" is for half of the nodes' node.toml.
CONFIGURATIONS = {
    "fedavg": {},
    "alternating": merging(strategy="alternating"),
    "ffa": merging(strategy="ffa"),
    "latent, rank 8, learning rate 0.02": {"aggregation": {"strategy": "latent"}, "training": {"learning_rate": 0.02}},
    "latent, rank 32, learning rate 0.02": {"aggregation": {"strategy": "latent"}, "lora": {"rank": 32, "alpha": 64},
                                            "training": {"learning_rate": 0.02}},
    "latent, rank 32, learning rate 0.005": {"aggregation": {"strategy": "latent"}, "lora": {"rank": 32, "alpha": 64},
                                             "training": {"learning_rate": 0.005}},
    "sketch (5 updates, 2 rounds each)": merging(strategy="sketch"),
    "share-a (personal)": merging(strategy="share-a"),
    "fedavg, momentum 0.9, rate 0.3": merging(server_optimizer="momentum", server_learning_rate=0.3),
    "fedavg, FedAdagrad, rate 0.01": merging(server_optimizer="fedadagrad", server_learning_rate=0.01),
    "fedavg, FedYogi, rate 0.01": merging(server_optimizer="fedyogi", server_learning_rate=0.01),
    "fedavg, FedAdam, rate 0.01": merging(server_optimizer="fedadam", server_learning_rate=0.01),
    "alternating, FedAdam, rate 0.01": merging(strategy="alternating", server_optimizer="fedadam",
                                               server_learning_rate=0.01),
    "fedavg, FedProx 0.1": {"training": {"proximal_mu": 0.1}},
    "fedavg, slices: half of the nodes train 4 of 8": {"aggregation": {"slices": True}, "node": {"max_rank": 4}},
    "fedavg, median of 3 cohorts": {"aggregation": {"combine": "median", "target_cohort": 3, "max_cohort": 3},
                                    "pacing": {"cohorts": 3}},
}


def settings_of(model, configuration, rounds):
    settings = federation.run_settings(
        "comparison", model, cohort=SPEAKERS,
        run={"rounds": rounds},
        lora={"rank": 8, "alpha": 16},
        training={"steps": 8, "learning_rate": 2e-3, "context": CONTEXT})
    for table, values in configuration.items():
        if table != "node":
            settings[table].update(values)
    return settings


def speakers(data):
    folder = data / "datasets/shakespeare_roles"
    return [(path.name.removesuffix(".train.jsonl"), path, path.with_name(path.name.replace(".train.", ".test.")))
            for path in sorted(folder.glob("*.train.jsonl"))[:SPEAKERS]]


def held_out_nll(model, adapter, test):
    adapters = ["--adapter", adapter] if adapter else []
    return federation.choir("eval", "--model", model, *adapters, "--data", test, "--packing", "windows", "--ctx",
                            CONTEXT, "--backend", "cpu", "--threads", 1)["mean_nll"]


def enrol(there, name, train, model, policy):
    texts = there.folder / "texts" / name
    texts.mkdir(parents=True)
    shutil.copy(train, texts)
    node = there.enrol(name, texts, model)
    if policy:
        config = node.home / "node.toml"
        config.write_text(config.read_text().replace("[policy]\n", "[policy]\n" + "".join(
            f"{key} = {value}\n" for key, value in policy.items())))
    node.start()
    return node


def uploaded_bytes(node):
    lines = (node.home / "ledger.jsonl").read_text().splitlines()
    return sum(json.loads(line)["masked_bytes"] for line in lines)


def run_one(data, model, configuration, rounds):
    """{"nll": mean over speakers, "bytes": uploaded by one node in all rounds, "seconds": ...}"""
    begin = time.monotonic()
    people = speakers(data)
    with federation.Federation("comparison") as there:
        there.start_coordinator()
        nodes = [enrol(there, name, train, model, configuration.get("node") if i % 2 else None)
                 for i, (name, train, _) in enumerate(people)]
        there.start_run(settings_of(model, configuration, rounds))
        status = there.wait_for_end("comparison", seconds=900)
        common = there.pull("comparison", rounds, there.folder / "final.gguf")
        federation.wait_until(lambda: all(n.latest_adapter("comparison") == common.read_bytes() for n in nodes),
                              "the nodes to have the last version", logs=there.logs)
        nlls = []
        for node, (_, _, test) in zip(nodes, people, strict=True):
            personal = node.home / "adapters/comparison/personal.gguf"
            nlls.append(held_out_nll(model, personal if personal.exists() else common, test))
        abandoned = sum(r["phase"] == "abandoned" for r in status["rounds"])
        return {"nll": sum(nlls) / len(nlls), "bytes": max(uploaded_bytes(node) for node in nodes),
                "abandoned": abandoned, "seconds": round(time.monotonic() - begin, 1)}


def table(name, base, rows, rounds):
    lines = [f"{name}: {SPEAKERS} speakers, {rounds} rounds; held-out NLL of the base model {base:.4f}", "",
             "| configuration | held-out NLL | uploaded by a node |", "| --- | --- | --- |"]
    lines += [f"| {row} | {found['nll']:.4f} | {found['bytes']:,} bytes |" for row, found in rows.items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--only", action="append", choices=CONFIGURATIONS, metavar="CONFIGURATION")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path, help="where to keep the figures")
    arguments = parser.parse_args()
    data = federation.test_data()
    figures = {}
    for name in arguments.model or MODELS:
        model = data / "models" / MODELS[name]
        base = sum(held_out_nll(model, None, test) for _, _, test in speakers(data)) / SPEAKERS
        rows = {}
        for row in arguments.only or CONFIGURATIONS:
            rows[row] = run_one(data, model, CONFIGURATIONS[row], arguments.rounds)
            print(f"{name}: {row}: {rows[row]}", file=sys.stderr, flush=True)
        figures[name] = {"base": base, "rows": rows}
        print(table(name, base, rows, arguments.rounds), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
