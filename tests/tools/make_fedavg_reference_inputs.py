# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the inputs of the federated-averaging reference run: what each client trains on and where it starts.

usage: make_fedavg_reference_inputs.py DATA_FOLDER OUT_FOLDER

DATA_FOLDER holds reference/fedavg.json, models/stories260K-f32.gguf and datasets/shakespeare_roles/. The run:

* A client's stream is the "text" fields of its records joined with one line end and tokenised once, without BOS or
  EOS. Window i is BOS and tokens 64i..64i+63: a sequence of its own, loss = mean over its 64 targets.
* Round r (from 1): every client starts from the merged adapter with fresh AdamW state and takes 8 steps of one window
  each; step i uses window 8(r-1)+i. lr 1e-3 constant, betas 0.9 and 0.999, eps 1e-8, no weight decay, no clipping.
* The merge is the plain mean of the clients' A and of their B. Test NLL is the mean over the first 4 test windows.

OUT_FOLDER gets A0.gguf (the first adapter, B = 0), expected.json, and for each client train.jsonl and test.jsonl (one
text record each, cut at a window edge), round<r>.jsonl and test.tokens.jsonl (the same windows as {"tokens": [...]}).
"""

import json
import pathlib
import sys

import gguf_file
import numpy as np
import sentencepiece_bpe

TEST_WINDOWS = 4
TARGETS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def initial_adapter(model_metadata, model_tensors, rank, seed):
    """[(name, "F32", shape, bytes)]: A uniform in +-1/sqrt(in), B zero, in the reference's order of drawing."""
    generator = np.random.default_rng(seed)
    tensors = []
    for layer in range(model_metadata["llama.block_count"]):
        for target in TARGETS:
            base = f"blk.{layer}.{target}.weight"
            out_size, in_size = model_tensors[base][1]
            a = (generator.uniform(-1, 1, (rank, in_size)) / np.sqrt(in_size)).astype(np.float32)
            # The reference draws B too and multiplies it by 0, so the generator has to move on.
            b = (generator.standard_normal((out_size, rank)) * 0.0).astype(np.float32)
            tensors.append((base + ".lora_a", "F32", a.shape, a.tobytes()))
            tensors.append((base + ".lora_b", "F32", b.shape, np.abs(b).tobytes()))
    return tensors


def write_initial_adapter(path, tensors, alpha):
    gguf_file.write(path, [("general.architecture", "str", "llama"), ("general.type", "str", "adapter"),
                           ("adapter.type", "str", "lora"), ("adapter.lora.alpha", "f32", alpha),
                           ("general.name", "str", "fedavg reference, round 0"), ("general.file_type", "u32", 0)],
                    tensors)


def token_stream(tokenizer, path):
    records = path.read_text(encoding="utf-8").splitlines()
    return tokenizer.encode("\n".join(json.loads(record)["text"] for record in records))


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_text(path, tokenizer, stream, windows, window):
    """One text record that tokenises to exactly the first `windows` windows."""
    ids = stream[:windows * window]
    text = tokenizer.decode(ids)
    if tokenizer.encode(text) != ids:
        raise ValueError(f"{path}: the text cut after {len(ids)} tokens tokenises differently")
    write_jsonl(path, [{"text": text}])


def window_records(stream, first, count, window):
    return [{"tokens": [sentencepiece_bpe.BOS] + stream[i * window:(i + 1) * window]}
            for i in range(first, first + count)]


def write_client(folder, tokenizer, train, test, reference):
    steps, window = reference["local_steps"], reference["window"]
    rounds = len(reference["rounds"]) - 1
    if len(train) < rounds * steps * window:
        raise ValueError(f"{folder.name}: {len(train)} training tokens, the run needs {rounds * steps * window}")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "train.jsonl", tokenizer, train, rounds * steps, window)
    write_text(folder / "test.jsonl", tokenizer, test, TEST_WINDOWS, window)
    for number in range(1, rounds + 1):
        write_jsonl(folder / f"round{number}.jsonl", window_records(train, (number - 1) * steps, steps, window))
    write_jsonl(folder / "test.tokens.jsonl", window_records(test, 0, TEST_WINDOWS, window))


def main(data, out):
    reference = json.loads((data / "reference/fedavg.json").read_text())
    metadata, tensors = gguf_file.read(data / "models/stories260K-f32.gguf")
    tokenizer = sentencepiece_bpe.Tokenizer.from_metadata(metadata)
    for client in reference["clients"]:
        source = data / "datasets/shakespeare_roles"
        write_client(out / client, tokenizer, token_stream(tokenizer, source / f"{client}.train.jsonl"),
                     token_stream(tokenizer, source / f"{client}.test.jsonl"), reference)
    adapter = initial_adapter(metadata, tensors, reference["rank"], reference["seed"])
    write_initial_adapter(out / "A0.gguf", adapter, reference["alpha"])
    (out / "expected.json").write_text(json.dumps(reference, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
