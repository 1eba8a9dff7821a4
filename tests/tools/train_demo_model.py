# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo base model from generated texts and writes it as a GGUF file (Q8_0, tokenizer inside).

usage: train_demo_model.py OUT_FILE [STEPS]     needs python3-torch and python3-numpy; one thread, seeded

The vocabulary is trained on the same texts. A training row starts at the beginning of a text and runs on into the
texts after it, each between BOS and EOS, so that position 0 is BOS as it is when the model is used.
"""

import math
import pathlib
import random
import sys
import time

import gguf_file
import make_demo_corpus
import numpy as np
import sentencepiece_bpe
import torch
from demo_llama import Config, Llama, initial_weights
from sentencepiece_bpe import BOS, EOS

STEPS = 2400
# Texts are about 100 tokens: mostly short rows, and some of the full context so that every position is trained.
ROW_TOKENS, ROWS = 128, 16
LONG_ROW_EVERY = 5
# Every eighth text is spelt in smaller pieces, so that the model can learn words which the vocabulary does not hold.
SPELT_EVERY, SPELT_SKIP = 8, 0.2
PEAK_LR = 3e-3
WARMUP_STEPS = 60
HELD_OUT_TEXTS = 200
# Printable ASCII: letters that the training texts lack still get a piece, so that few texts need byte tokens.
ALPHABET = [chr(code) for code in range(0x21, 0x7F)]


def learning_rate(step, steps):
    """Linear warm-up, then a cosine down to a tenth."""
    if step < WARMUP_STEPS:
        return PEAK_LR * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return PEAK_LR * (0.55 + 0.45 * math.cos(math.pi * progress))


def encode_texts(tokenizer, texts):
    """(stream of all texts as BOS ... EOS, first position of each text)."""
    stream, starts = [], []
    source = random.Random(2)
    for number, text in enumerate(texts):
        starts.append(len(stream))
        skip = SPELT_SKIP if number % SPELT_EVERY == 0 else 0.0
        stream += [BOS] + tokenizer.encode(text, lambda: source.random() < skip) + [EOS]
    return torch.tensor(stream), starts


def batch_of(stream, starts, rows_wanted, length, source):
    rows = []
    while len(rows) < rows_wanted:
        start = source.choice(starts)
        if start + length < len(stream):
            rows.append(stream[start:start + length + 1])
    return torch.stack(rows)


def mean_nll(model, tokenizer, texts):
    """Nats a token over whole texts, BOS in front and EOS counted."""
    total = count = 0
    with torch.no_grad():
        for text in texts:
            ids = ([BOS] + tokenizer.encode(text) + [EOS])[:model.config.context + 1]
            total += float(model.loss(torch.tensor([ids]))) * (len(ids) - 1)
            count += len(ids) - 1
    return total / count


def train(config, stream, starts, steps):
    weights = {name: value.requires_grad_() for name, value in initial_weights(config).items()}
    matrices = [value for value in weights.values() if value.dim() == 2]
    norms = [value for value in weights.values() if value.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}],
                                  betas=(0.9, 0.95))
    model = Llama(config, weights, attention_type=torch.bfloat16)
    source, began = random.Random(1), time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        factor = config.context // ROW_TOKENS if step % LONG_ROW_EVERY == 0 else 1
        loss = model.loss(batch_of(stream, starts, ROWS // factor, ROW_TOKENS * factor, source))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step} loss {loss.item():.4f} seconds {time.monotonic() - began:.0f}", flush=True)
    return {name: value.detach() for name, value in weights.items()}


def metadata(config, tokenizer):
    return [
        ("general.architecture", "str", "llama"), ("general.type", "str", "model"),
        ("general.name", "str", "Choir demo storyteller"), ("general.license", "str", "apache-2.0"),
        ("general.file_type", "u32", 7), ("general.quantization_version", "u32", 2),
        ("llama.context_length", "u32", config.context), ("llama.embedding_length", "u32", config.channels),
        ("llama.block_count", "u32", config.layers), ("llama.feed_forward_length", "u32", config.feed_forward),
        ("llama.attention.head_count", "u32", config.heads), ("llama.attention.head_count_kv", "u32", config.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", "f32", config.eps),
        ("llama.rope.dimension_count", "u32", config.head_size), ("llama.rope.freq_base", "f32", config.rope_base),
        ("llama.vocab_size", "u32", config.vocab),
        ("tokenizer.ggml.model", "str", "llama"), ("tokenizer.ggml.pre", "str", "default"),
        ("tokenizer.ggml.tokens", "[str]", tokenizer.pieces), ("tokenizer.ggml.scores", "[f32]", tokenizer.scores),
        ("tokenizer.ggml.token_type", "[i32]", tokenizer.types),
        ("tokenizer.ggml.bos_token_id", "u32", BOS), ("tokenizer.ggml.eos_token_id", "u32", EOS),
        ("tokenizer.ggml.unknown_token_id", "u32", sentencepiece_bpe.UNKNOWN),
        ("tokenizer.ggml.add_bos_token", "bool", True), ("tokenizer.ggml.add_eos_token", "bool", False),
        ("tokenizer.ggml.add_space_prefix", "bool", True),
    ]


def write_model(path, config, tokenizer, weights):
    tensors = []
    for name, value in weights.items():
        kind = "Q8_0" if value.dim() == 2 else "F32"
        tensors.append((name, kind, tuple(value.shape), gguf_file.encode(value.numpy(), kind)))
    path.parent.mkdir(parents=True, exist_ok=True)
    gguf_file.write(path, metadata(config, tokenizer), tensors)


def load_model(path):
    """(Llama over the file's dequantised weights, Tokenizer)."""
    keys, tensors = gguf_file.read(path)
    config = Config(vocab=keys["llama.vocab_size"], channels=keys["llama.embedding_length"],
                    layers=keys["llama.block_count"], heads=keys["llama.attention.head_count"],
                    kv_heads=keys["llama.attention.head_count_kv"], feed_forward=keys["llama.feed_forward_length"],
                    context=keys["llama.context_length"], rope_base=keys["llama.rope.freq_base"],
                    eps=keys["llama.attention.layer_norm_rms_epsilon"])
    weights = {name: torch.from_numpy(np.array(gguf_file.decode(*tensor))) for name, tensor in tensors.items()}
    return Llama(config, weights), sentencepiece_bpe.Tokenizer.from_metadata(keys)


def main(path, steps):
    torch.set_num_threads(1)
    torch.manual_seed(7)
    config, texts = Config(), make_demo_corpus.base_texts()
    held_out, texts = texts[:HELD_OUT_TEXTS], texts[HELD_OUT_TEXTS:]
    tokenizer = sentencepiece_bpe.train(texts, config.vocab, ALPHABET)
    stream, starts = encode_texts(tokenizer, texts)
    print(f"{len(texts)} texts, {len(stream)} tokens, {len(tokenizer.pieces)} pieces", flush=True)
    weights = train(config, stream, starts, steps)
    write_model(path, config, tokenizer, weights)
    print(f"held-out NLL before quantising {mean_nll(Llama(config, weights), tokenizer, held_out):.4f}")
    model, tokenizer = load_model(path)
    print(f"held-out NLL of {path} {mean_nll(model, tokenizer, held_out):.4f}, {path.stat().st_size} bytes")
    for prompt in ("Once upon a time", "One rainy morning,", "Dear Anna,"):
        ids = model.greedy([BOS] + tokenizer.encode(prompt), 90, EOS)
        print(f"greedy: {tokenizer.decode(ids)}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else STEPS)
