#!/usr/bin/env python3
# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Repeats the biomedical experiment that QVAC Fabric publishes, on its own data, and prints a table (docs/results.md).

Data: biomedqa_qvac, 264 short answers to train on, 33 to validate on, 33 to test on. Settings as published: LoRA on all
seven projections, one sequence of 128 tokens a step, 8 epochs, cosine from a tenth of warm-up, at QVAC's rate (1e-5) and
at the rate of its PyTorch reference (3e-4). Rank and strength, where nothing is published, are 8 and 16. The models have
0.26 and 3 million parameters; of the 33 test questions a third each is Yes, No and Uncertain: this shows that the machine works, not that it learned medicine.

usage: bench/biomedqa.py [--seeds N] [--json FILE]
Needs a built choir (CHOIR_BIN, default build/dev/bin) and the reference data (CHOIR_TEST_DATA, default ../shared/data).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODELS = ("bitllama3M-tq2_0", "stories260K-f32")
RATES = {"1e-5": "QVAC's", "3e-4": "its PyTorch reference's"}


def choir(*arguments):
    """What the command printed as JSON."""
    program = pathlib.Path(os.environ.get("CHOIR_BIN", ROOT / "build/dev/bin")) / "choir"
    done = subprocess.run([program, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"choir {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def test_loss(model, texts, adapter=None):
    return choir("eval", "--model", model, "--data", texts / "test.jsonl", "--ctx", 128,
                 *(("--adapter", adapter) if adapter else ()))["mean_nll"]


def accuracy(model, texts, adapter=None):
    """The part of the test questions whose right answer is the likeliest of three, by its summed log-likelihood."""
    return choir("eval", "--model", model, "--data", texts / "test.jsonl", "--choices", "Yes,No,Uncertain",
                 *(("--adapter", adapter) if adapter else ()))["summed"]["accuracy"]


def train(model, texts, rate, seed, folder):
    """Losses on validation (in the course of training) and on test (of its last adapter)."""
    settings = ("--model", model, "--data", texts / "train.jsonl", "--ctx", 128, "--batch", 1, "--epochs", 8,
                "--rank", 8, "--alpha", 16, "--modules", "all", "--lr", rate, "--schedule", "cosine", "--seed", seed)
    steps = choir("train", *settings, "--dry-run")["steps"]
    adapter = folder / "adapter.gguf"
    report = choir("train", *settings, "--warmup", steps // 10, "--eval-data", texts / "validation.jsonl",
                   "--keep", "last", "--output", adapter)
    held_out = report["held_out"]
    return {"steps": report["steps"], "tokens": report["tokens"], "seconds": report["seconds"],
            "validation_before": held_out["first"]["loss"], "validation_after": held_out["last"]["loss"],
            "test_after": test_loss(model, texts, adapter), "accuracy_after": accuracy(model, texts, adapter)}


def spread(values, form=".4f"):
    return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}}" if len(values) > 1 else f"{values[0]:{form}}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("CHOIR_TEST_DATA", ROOT.parent / "shared/data"))
    texts = data / "datasets/biomedqa_qvac"
    if not texts.is_dir():
        sys.exit(f"{texts} is not there: set CHOIR_TEST_DATA to the folder of the reference data")

    results = []
    print(f"| model | learning rate | steps | validation NLL before | after | test NLL before | after "
          f"| right answers before | after |\n{'| --- ' * 9}|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            model = data / "models" / f"{name}.gguf"
            before, right_before = test_loss(model, texts), accuracy(model, texts)
            for rate, whose in RATES.items():
                runs = [train(model, texts, rate, seed, pathlib.Path(folder)) for seed in range(1, options.seeds + 1)]
                results.append({"model": name, "rate": rate, "test_before": before, "accuracy_before": right_before, "runs": runs})
                print(f"| {name} | {rate} ({whose}) | {runs[0]['steps']} | {runs[0]['validation_before']:.4f} "
                      f"| {spread([run['validation_after'] for run in runs])} | {before:.4f} "
                      f"| {spread([run['test_after'] for run in runs])} | {right_before:.1%} "
                      f"| {spread([run['accuracy_after'] for run in runs], '.1%')} |", flush=True)
    print(f"\nafter: mean ± standard deviation over seeds 1 to {options.seeds}; "
          f"{results[0]['runs'][0]['tokens']} tokens were learned from in a run")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
