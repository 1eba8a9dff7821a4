# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""A small llama in PyTorch for the demo model: weights named and laid out as in GGUF, optional LoRA beside them.

Shapes: tokens (B, T), activations (B, T, C), linear weights (out, in). Rotary embedding turns adjacent pairs
(2i, 2i+1), the row order of q and k in GGUF's llama architecture. The output layer is the token embedding.
"""

import dataclasses
import math

import torch

PADDING = -1
LINEARS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclasses.dataclass(frozen=True)
class Config:
    vocab: int = 1024
    channels: int = 128
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 352
    context: int = 256
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def head_size(self):
        return self.channels // self.heads

    def linear_shape(self, name):
        kv = self.kv_heads * self.head_size
        return {"attn_q": (self.channels, self.channels), "attn_k": (kv, self.channels), "attn_v": (kv, self.channels),
                "attn_output": (self.channels, self.channels), "ffn_gate": (self.feed_forward, self.channels),
                "ffn_up": (self.feed_forward, self.channels), "ffn_down": (self.channels, self.feed_forward)}[name]


def multiply(x, weight):
    """x (..., in) times weight (out, in) transposed. Debian's PyTorch has the reference BLAS: oneDNN is 20 times faster."""
    if torch.backends.mkldnn.is_available():
        return torch.nn.functional.linear(x.to_mkldnn(), weight).to_dense()
    return torch.nn.functional.linear(x, weight)


def initial_weights(config):
    """{GGUF tensor name: tensor}, in file order. Residual outputs start smaller by the number of residual adds."""
    weights = {"token_embd.weight": torch.randn(config.vocab, config.channels) * 0.05}
    for layer in range(config.layers):
        prefix = f"blk.{layer}."
        weights[prefix + "attn_norm.weight"] = torch.ones(config.channels)
        weights[prefix + "ffn_norm.weight"] = torch.ones(config.channels)
        for name in LINEARS:
            out_size, in_size = config.linear_shape(name)
            scale = 1 / math.sqrt(in_size)
            if name in ("attn_output", "ffn_down"):
                scale /= math.sqrt(2 * config.layers)
            weights[f"{prefix}{name}.weight"] = torch.randn(out_size, in_size) * scale
    weights["output_norm.weight"] = torch.ones(config.channels)
    return weights


def initial_lora(config, rank):
    """{(tensor name, "a" or "b"): tensor} with B zero, so that the adapted model starts as the base model."""
    lora = {}
    for layer in range(config.layers):
        for name in LINEARS:
            out_size, in_size = config.linear_shape(name)
            tensor = f"blk.{layer}.{name}.weight"
            lora[tensor, "a"] = (torch.rand(rank, in_size) * 2 - 1) / math.sqrt(in_size)
            lora[tensor, "b"] = torch.zeros(out_size, rank)
    return lora


class Llama:
    """Forward pass over given weights; lora may be None, and scale is alpha / rank.

    attention_type is the number type of the two attention products: training takes bfloat16, which Debian's PyTorch
    multiplies with oneDNN, 20 times faster than float32.
    """

    def __init__(self, config, weights, lora=None, scale=0.0, attention_type=torch.float32):
        self.config, self.weights, self.lora, self.scale = config, weights, lora, scale
        self.attention_type = attention_type
        pairs = torch.arange(0, config.head_size, 2, dtype=torch.float32)
        angles = torch.arange(config.context, dtype=torch.float32)[:, None] * config.rope_base ** (-pairs / config.head_size)
        self._cos, self._sin = angles.cos(), angles.sin()
        self._mask = torch.full((config.context, config.context), -math.inf).triu(1)

    def _linear(self, x, name):
        y = multiply(x, self.weights[name])
        if self.lora is not None:
            y = y + self.scale * multiply(multiply(x, self.lora[name, "a"]), self.lora[name, "b"])
        return y

    def _norm(self, x, name):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.config.eps) * self.weights[name]

    def _rope(self, x):
        """x: (B, H, T, head size)."""
        length = x.shape[2]
        cos, sin = self._cos[:length], self._sin[:length]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)

    def _attention(self, x, prefix):
        batch, length, _ = x.shape
        config = self.config

        def heads(name, count):
            return self._linear(x, prefix + name).view(batch, length, count, config.head_size).transpose(1, 2)

        q = self._rope(heads("attn_q.weight", config.heads))
        k = self._rope(heads("attn_k.weight", config.kv_heads))
        v = heads("attn_v.weight", config.kv_heads)
        repeat = config.heads // config.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        q, k, v = (x.to(self.attention_type) for x in (q, k, v))
        scores = (q @ k.transpose(2, 3)).float() / math.sqrt(config.head_size) + self._mask[:length, :length]
        mixed = (scores.softmax(-1).to(self.attention_type) @ v).float()
        mixed = mixed.transpose(1, 2).reshape(batch, length, -1)
        return self._linear(mixed, prefix + "attn_output.weight")

    def logits(self, tokens):
        h = self.weights["token_embd.weight"][tokens]
        for layer in range(self.config.layers):
            prefix = f"blk.{layer}."
            h = h + self._attention(self._norm(h, prefix + "attn_norm.weight"), prefix)
            x = self._norm(h, prefix + "ffn_norm.weight")
            gate = torch.nn.functional.silu(self._linear(x, prefix + "ffn_gate.weight"))
            h = h + self._linear(gate * self._linear(x, prefix + "ffn_up.weight"), prefix + "ffn_down.weight")
        return multiply(self._norm(h, "output_norm.weight"), self.weights["token_embd.weight"])

    def loss(self, tokens):
        """Mean next-token cross-entropy of (B, T + 1) tokens, in nats. Rows may end in PADDING, which does not count."""
        logits = self.logits(tokens[:, :-1].clamp(min=0))
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PADDING)

    @torch.no_grad()
    def greedy(self, tokens, count, stop):
        tokens = list(tokens)
        for _ in range(count):
            following = int(self.logits(torch.tensor([tokens]))[0, -1].argmax())
            if following == stop:
                break
            tokens.append(following)
        return tokens
