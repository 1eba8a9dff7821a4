#!/usr/bin/env python3
"""The table of bench/gpu_compare.sh from the files of its runs, in Markdown.

usage: gpu_table.py FOLDER, which has NAME.RUN.json (the program's own figures) and NAME.RUN.memory.json
(gpu_memory.py's), NAME one of torch, F16, Q8_0, RUN from 1, and with torch peak.json (GFLOP/s by type).
"""
import glob
import json
import os
import sys

MIB = 1 << 20


def read(path):
    with open(path) as file:
        return json.load(file)


def runs(folder, name):
    """The fastest run's figures, and all rates; None if there is no run."""
    found = []
    for path in sorted(glob.glob(os.path.join(folder, f"{name}.[0-9]*.json"))):
        if path.endswith(".memory.json"):
            continue
        figures = read(path)
        figures["memory"] = read(path.removesuffix(".json") + ".memory.json")
        figures["rate"] = (figures.get("train") or figures)["tokens_per_second"]
        found.append(figures)
    if not found:
        return None
    best = max(found, key=lambda figures: figures["rate"])
    best["rates"] = [figures["rate"] for figures in found]
    if name == "torch":
        best["peak_gflops"] = read(os.path.join(folder, "peak.json"))
    return best


def grown_bytes(figures):
    memory = figures["memory"]
    return None if memory["peak_bytes"] is None else memory["peak_bytes"] - memory["idle_bytes"]


def ratio(value, base, digits=2):
    return "" if not value or not base else f"{value / base:.{digits}f}"


def percent(value, base):
    return "" if not value or not base else f"{100 * value / base:.1f} %"


def mib(value):
    return "" if value is None else f"{value / MIB:.0f}"


def row(label, figures, own_bytes, flops_per_token, torch):
    gflops = figures["rate"] * flops_per_token * 1e-9
    peaks = {} if torch is None else torch["peak_gflops"]
    device = grown_bytes(figures)
    torch_device = None if torch is None else grown_bytes(torch)
    spread = f"{min(figures['rates']):.0f} to {max(figures['rates']):.0f}"
    cells = [label, f"{figures['rate']:.0f} ({spread})", ratio(figures["rate"], torch and torch["rate"]),
             f"{gflops:.0f}", percent(gflops, peaks.get("bf16")), percent(gflops, peaks.get("f32")),
             mib(device), ratio(device, torch_device), mib(own_bytes)]
    return "| " + " | ".join(cells) + " |"


def profile(name, figures):
    train = figures["train"]
    total = sum(op["seconds"] for op in train["ops"])
    lines = ["", f"Profile, {name}:", "", "| op | calls | ms | share | GFLOP/s | GB/s |", "| --- | --- | --- | --- | --- | --- |"]
    for op in train["ops"]:
        seconds = max(op["seconds"], 1e-12)
        lines.append(f"| {op['op']} | {op['calls']} | {op['seconds'] * 1e3:.2f} | {100 * op['seconds'] / max(total, 1e-12):.1f} % "
                     f"| {op['flops'] / seconds * 1e-9:.0f} | {op['bytes'] / seconds * 1e-9:.1f} |")
    return lines


def main():
    folder = sys.argv[1]
    torch = runs(folder, "torch")
    formats = {name: figures for name in ("F16", "Q8_0") if (figures := runs(folder, name))}
    first = next(iter(formats.values()))
    train = first["train"]
    # The same work for both: what `choir bench` counts for a step of this shape.
    flops_per_token = train["flops_per_step"] / (train["fastest_step_seconds"] * train["tokens_per_second"])
    lines = [f"{first['shape']}, ctx {first['context_tokens']}, LoRA r = {train['rank']} on {train['modules']}; the fastest of "
             f"{len(first['rates'])} runs, programs in turn", "",
             f"Choir: {first['device']} ({', '.join(first['features'])})"]
    for name, figures in formats.items():
        lines.append(f"Products of Choir, {name}: {'; '.join(figures['ways']) or 'f32'}")
    if torch is not None:
        lines.append(f"PyTorch {torch['torch']}, transformers {torch['transformers']}, PEFT {torch['peft']}: {torch['device']}; products at best: "
                     f"bf16 {torch['peak_gflops']['bf16']:.0f}, f32 {torch['peak_gflops']['f32']:.0f} GFLOP/s")
    lines += ["", "| program, weights | tokens/s (all runs) | to PyTorch | GFLOP/s | of the bf16 peak | of the f32 peak | GPU memory, MiB | to PyTorch "
              "| its own count, MiB |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    if torch is not None:
        lines.append(row("PyTorch + PEFT, bf16", torch, torch["peak_bytes"], flops_per_token, torch))
    for name, figures in formats.items():
        own = figures["weight_bytes"] + figures["train"]["arena_bytes"] + figures["train"]["workspace_bytes"]
        lines.append(row(f"Choir, {name}", figures, own, flops_per_token, torch))
    lines += ["", "GPU memory: what the whole device has in use at most, less what it had before (empty: its driver does not tell). Its own count: PyTorch's "
              "allocator; of Choir weights, activations and workspace."]
    for name, figures in formats.items():
        lines += profile(f"Choir, {name}", figures)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
