# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Measures the demo: NLL of every node's held-out records before and after federated LoRA, and what is then written.

usage: check_demo_model.py DEMO_FOLDER     DEMO_FOLDER holds model.gguf and data/<node>/{train,test}.jsonl

A small independent model of a run in PyTorch (plain FedAvg of A and B, nodes weighted equally, AdamW fresh in every
round, one record a row), to judge model and data by; Choir itself trains in C++.
"""

import json
import pathlib
import random
import sys

import torch
from demo_llama import PADDING, Llama, initial_lora
from sentencepiece_bpe import BOS, EOS
from train_demo_model import load_model, mean_nll

RANK, ALPHA, LEARNING_RATE = 8, 16.0, 3e-3
ROUNDS, STEPS, BATCH = 4, 30, 4
PROMPTS = {"gardener": "Garden diary, May 4.", "sailor": "Ship's log, day 12.", "baker": "Recipe for honey buns.",
           "night-watch": "Watch report, two o'clock, mill lane."}


def read_texts(path):
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def documents_of(tokenizer, texts):
    return [torch.tensor([BOS] + tokenizer.encode(text) + [EOS]) for text in texts]


def train_node(model, lora, documents, source):
    """One node's part of a round; returns its adapter and the mean loss."""
    local = {key: value.clone().requires_grad_() for key, value in lora.items()}
    model.lora = local
    optimizer = torch.optim.AdamW(local.values(), lr=LEARNING_RATE, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        rows = source.sample(documents, BATCH)
        loss = model.loss(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {key: value.detach() for key, value in local.items()}, sum(losses) / len(losses)


def write_sample(model, tokenizer, prompt):
    text = tokenizer.decode(model.greedy([BOS] + tokenizer.encode(prompt), 80, EOS))
    print(f"  {text}", flush=True)


def main(folder):
    torch.set_num_threads(1)
    torch.manual_seed(11)
    base, tokenizer = load_model(folder / "model.gguf")
    nodes = sorted(path.name for path in (folder / "data").iterdir() if path.is_dir())
    train = {node: documents_of(tokenizer, read_texts(folder / "data" / node / "train.jsonl")) for node in nodes}
    test = {node: read_texts(folder / "data" / node / "test.jsonl") for node in nodes}
    for node in nodes:
        print(f"{node}, base model: {len(train[node])} records, {sum(map(len, train[node]))} tokens")
        write_sample(base, tokenizer, PROMPTS[node])
    model = Llama(base.config, base.weights, initial_lora(base.config, RANK), ALPHA / RANK)
    merged, source = model.lora, random.Random(3)
    print("round 0 test NLL", {node: round(mean_nll(model, tokenizer, test[node]), 4) for node in nodes}, flush=True)
    for number in range(1, ROUNDS + 1):
        results = {node: train_node(model, merged, train[node], source) for node in nodes}
        merged = {key: torch.stack([adapter[key] for adapter, _ in results.values()]).mean(0) for key in merged}
        model.lora = merged
        print(f"round {number} train loss", {node: round(loss, 4) for node, (_, loss) in results.items()},
              "test NLL", {node: round(mean_nll(model, tokenizer, test[node]), 4) for node in nodes}, flush=True)
    for node in nodes:
        print(f"{node}, merged adapter:")
        write_sample(model, tokenizer, PROMPTS[node])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
