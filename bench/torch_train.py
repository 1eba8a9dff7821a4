#!/usr/bin/env python3
"""PyTorch and PEFT at a shape of `choir bench`, for bench/gpu_compare.sh: one JSON object on stdout.

Needs torch, transformers (with Qwen3) and peft. Random weights, bf16, LoRA on all seven projections,
sequences of --ctx tokens without padding: the same work as
`choir bench train --shape NAME --ctx N --rank R`.
"""
import argparse
import json
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def sizes(layers, channels, feed_forward, heads, kv_heads, head_size, vocabulary, tied):
    return dict(num_hidden_layers=layers, hidden_size=channels, intermediate_size=feed_forward,
                num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=head_size,
                vocab_size=vocabulary, tie_word_embeddings=tied, max_position_embeddings=32768)


# The numbers of bench/model_shape.cc.
SHAPES = {
    "llama-134m": LlamaConfig(**sizes(12, 768, 2048, 12, 12, 64, 32000, False)),
    "qwen3-0.6b": Qwen3Config(**sizes(28, 1024, 3072, 16, 8, 128, 151936, True)),
    "llama-1b": LlamaConfig(**sizes(16, 2048, 8192, 32, 8, 64, 128256, True)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--checkpoint", action="store_true", help="gradient checkpointing")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch_train.py: no GPU that PyTorch can use")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(SHAPES[options.shape], torch_dtype=torch.bfloat16)
    model = get_peft_model(model.cuda(), LoraConfig(r=options.rank, lora_alpha=16, target_modules=MODULES))
    if options.checkpoint:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    ids = torch.randint(SHAPES[options.shape].vocab_size, (1, options.ctx), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(options.steps + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"tokens_per_second": options.ctx / min(seconds[1:]),
                      "peak_bytes": torch.cuda.max_memory_allocated(),
                      "device": torch.cuda.get_device_name(),
                      "torch": torch.__version__, "loss": loss.item()}))


if __name__ == "__main__":
    main()
