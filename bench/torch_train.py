#!/usr/bin/env python3
"""PyTorch and PEFT at a shape of `choir bench`, for bench/gpu_compare.sh: one JSON object on stdout.

Needs torch, transformers (4.51 or later for qwen3) and peft. Random weights, bf16, LoRA on all seven projections,
sequences of --ctx tokens without padding: the same work as `choir bench train --shape NAME --ctx N --rank R`. With
--peak instead: what the device's products reach at best (a process of its own, for its memory is not training's).
"""
import argparse
import json
import os
import sys
import time

# Libraries may print; stdout is for the result alone.
RESULT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
try:
    import peft
    import torch
    import transformers
except ImportError as error:
    sys.exit(f"torch_train.py: {error}; with the network: pip install torch transformers peft")

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# The numbers of bench/model_shape.cc: the class of the configuration, layers, channels, feed-forward, heads, key/value
# heads, head size, vocabulary, tied output.
SHAPES = {
    "llama-134m": ("LlamaConfig", 12, 768, 2048, 12, 12, 64, 32000, False),
    "qwen3-0.6b": ("Qwen3Config", 28, 1024, 3072, 16, 8, 128, 151936, True),
    "llama-1b": ("LlamaConfig", 16, 2048, 8192, 32, 8, 64, 128256, True),
}


def configuration(shape):
    name, layers, channels, feed_forward, heads, kv_heads, head_size, vocabulary, tied = SHAPES[shape]
    if not hasattr(transformers, name):
        raise SystemExit(f"torch_train.py: transformers {transformers.__version__} has no {name}; install 4.51 or later")
    return getattr(transformers, name)(
        num_hidden_layers=layers, hidden_size=channels, intermediate_size=feed_forward, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=head_size, vocab_size=vocabulary, tie_word_embeddings=tied,
        max_position_embeddings=32768)


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def peak_gflops(device, dtype):
    """Square products, the fastest of ten; f32 without TF32, as PyTorch has it by default."""
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(10):
        wait(device)
        begin = time.perf_counter()
        a @ b
        wait(device)
        seconds.append(time.perf_counter() - begin)
    return 2e-9 * size**3 / min(seconds)


def train(options, config):
    """Seconds of each step after the first, and the last loss."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16).to(options.device)
    model = peft.get_peft_model(model, peft.LoraConfig(r=options.rank, lora_alpha=16, target_modules=MODULES))
    model.train()
    if options.checkpoint:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    ids = torch.randint(config.vocab_size, (1, options.ctx), device=options.device)
    seconds = []
    for _ in range(options.steps + 1):
        wait(options.device)
        begin = time.perf_counter()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(options.device)
        seconds.append(time.perf_counter() - begin)
    return seconds[1:], loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try the script")
    parser.add_argument("--checkpoint", action="store_true", help="gradient checkpointing")
    parser.add_argument("--check", action="store_true", help="only see whether all that is needed is there")
    parser.add_argument("--peak", action="store_true", help="measure products instead: GFLOP/s in bf16 and in f32")
    options = parser.parse_args()
    config = configuration(options.shape)
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise SystemExit(f"torch_train.py: no GPU that PyTorch {torch.__version__} can use; is it the build for this GPU?")
    if options.check:
        return
    if options.peak:
        print(json.dumps({"bf16": peak_gflops(options.device, torch.bfloat16),
                          "f32": peak_gflops(options.device, torch.float32)}), file=RESULT)
        return
    seconds, loss = train(options, config)
    print(json.dumps({"tokens_per_second": options.ctx / min(seconds),
                      "peak_bytes": torch.cuda.max_memory_allocated() if cuda else None,
                      "device": torch.cuda.get_device_name() if cuda else "CPU", "torch": torch.__version__,
                      "transformers": transformers.__version__, "peft": peft.__version__, "loss": loss}), file=RESULT)


if __name__ == "__main__":
    main()
