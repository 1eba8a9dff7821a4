#!/usr/bin/env python3
"""Writes the seed corpora of the engine's readers: small valid files, one feature or two each.

usage: tests/fuzz/make_gguf_seeds.py      (from the repository root; standard library only)
"""

import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B",
        U64: "<Q", I64: "<q", F64: "<d"}


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, item):
    return text(item) if kind == STRING else struct.pack(PACK[kind], item)


def key(name, kind, item, element=None):
    head = text(name) + struct.pack("<I", kind)
    if kind != ARRAY:
        return head + value(kind, item)
    return head + struct.pack("<IQ", element, len(item)) + b"".join(value(element, x) for x in item)


def gguf(keys, tensors=(), version=3, align=32):
    """tensors: (name, dims with the row length first, type id, bytes)"""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys)
    offset = 0
    for name, dims, kind, data in tensors:
        out += text(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        out += struct.pack("<IQ", kind, offset)
        offset += -(-len(data) // align) * align
    for _, _, _, data in tensors:
        out += b"\0" * (-len(out) % align) + data
    return out


def vocabulary(extra=(), **flags):
    tokens = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    tokens += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)] + [("\u2581", -9.0, 1)]
    tokens += extra
    keys = [key("tokenizer.ggml.model", STRING, "llama"),
            key("tokenizer.ggml.tokens", ARRAY, [t[0] for t in tokens], STRING),
            key("tokenizer.ggml.scores", ARRAY, [t[1] for t in tokens], F32),
            key("tokenizer.ggml.token_type", ARRAY, [t[2] for t in tokens], I32),
            key("tokenizer.ggml.bos_token_id", U32, 1), key("tokenizer.ggml.eos_token_id", U32, 2),
            key("tokenizer.ggml.unknown_token_id", U32, 0)]
    keys += [key(f"tokenizer.ggml.{name}", BOOL, int(on)) for name, on in flags.items()]
    return keys


def small_vocabulary():
    tokens = [("<unk>", 0.0, 2), ("a", -1.0, 1), ("b", -2.0, 1), ("ab", -0.5, 1), ("<t>", 0.0, 4)]
    return [key("tokenizer.ggml.model", STRING, "llama"),
            key("tokenizer.ggml.tokens", ARRAY, [t[0] for t in tokens], STRING),
            key("tokenizer.ggml.scores", ARRAY, [t[1] for t in tokens], F32),
            key("tokenizer.ggml.token_type", ARRAY, [t[2] for t in tokens], I32),
            key("tokenizer.ggml.unknown_token_id", U32, 0)]


def adapter(pairs, alpha=4.0, kind=0):
    keys = [key("general.architecture", STRING, "llama"), key("general.type", STRING, "adapter"),
            key("adapter.type", STRING, "lora"), key("adapter.lora.alpha", F32, alpha)]
    size = 4 if kind == 0 else 2
    tensors = []
    for name, rows, cols, rank in pairs:
        b_dims = [rank, rows] if rows else [rank]
        tensors.append((name + ".lora_a", [cols, rank], kind, b"\x3c" * (cols * rank * size)))
        tensors.append((name + ".lora_b", b_dims, kind, b"\x3b" * (rank * max(rows, 1) * size)))
    return gguf(keys, tensors)


def safetensors(pairs):
    """pairs: (module, columns, rows, dtype, bytes an element), all of rank 2"""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for module, cols, rows, dtype, size in pairs:
        for name, shape in ((".lora_A.weight", [2, cols]), (".lora_B.weight", [rows, 2])):
            part = b"\1" * (shape[0] * shape[1] * size)
            header[module + name] = {"dtype": dtype, "shape": shape,
                                     "data_offsets": [len(data), len(data) + len(part)]}
            data += part
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


SEEDS = {
    "gguf_fuzz": {
        "empty": gguf([]),
        "version2": gguf([key("a", U32, 1)], version=2),
        "scalars": gguf([key(f"k{kind}", kind, 1) for kind in PACK] + [key("s", STRING, "text")]),
        "arrays": gguf([key(f"k{kind}", ARRAY, [1, 0], kind) for kind in PACK]
                       + [key("s", ARRAY, ["", "x"], STRING)]),
        "aligned": gguf([key("general.alignment", U32, 64)],
                        [("w", [3], 0, b"\1" * 12), ("v", [2, 2], 1, b"\2" * 8)], align=64),
        "quantised": gguf([], [("q8", [32, 2], 8, b"\1" * 68), ("q4", [256], 12, b"\2" * 144),
                               ("new", [5, 7], 99, b"\3" * 32)]),
    },
    "adapter_fuzz": {
        "one": adapter([("blk.0.attn_q.weight", 6, 4, 2)]),
        "half": adapter([("blk.0.attn_q.weight", 6, 4, 2)], kind=1),
        "order": adapter([("blk.10.ffn_up.weight", 2, 3, 1), ("blk.2.attn_v.weight", 2, 2, 1),
                          ("output.weight", 3, 2, 1)], alpha=0.0),
        "vector": adapter([("output_norm.weight", 0, 8, 4), ("blk.0.attn_k.weight", 2, 2, 1)]),
    },
    "tokenizer_fuzz": {
        "bytes": gguf(vocabulary(add_bos_token=True, add_eos_token=True)),
        "merges": gguf(vocabulary([("ab", -1.0, 1), ("\u2581a", -0.5, 1), ("<t>", 0.0, 4)],
                                  add_space_prefix=False)) + b"abab a<t>b \xc3\xa9\xff</s>",
        "small": gguf(small_vocabulary()) + b"aab<t>b<unk>",
        "gpt2": gguf([key("tokenizer.ggml.model", STRING, "gpt2")]),
    },
    "safetensors_fuzz": {
        "pair": safetensors([("base_model.model.model.layers.0.mlp.up_proj", 3, 5, "F32", 4)]),
        "reordered": safetensors([("base_model.model.model.layers.1.self_attn.q_proj", 3, 8, "BF16", 2),
                                  ("base_model.model.model.layers.0.self_attn.k_proj", 3, 4, "F16", 2)]),
        "config": b'{"peft_type": "LORA", "r": 8, "lora_alpha": 16.5, "use_rslora": true, '
                  b'"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"layers\\\\.1\\\\.mlp": 2}, '
                  b'"target_modules": ["q_proj"], "bias": "none"}',
    },
    "jsonl_fuzz": {
        "text": b'{"text": "one"}\n{"text": "two \\u00e9\\ud83e\\udd99"}\r\n\n',
        "pairs": b'{"prompt": "p", "completion": "a long enough completion", "x": [1, {"y": null}]}',
        "chat": b'{"messages": [{"role": "user", "content": "q"}, '
                b'{"role": "assistant", "content": "a"}]}',
        "bad": b'{"text": 1}\n[\n{"prompt": ""}\n{"text": "' + b"\xff" + b'"}\n{}',
    },
}


def main():
    for target, seeds in SEEDS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
