#!/usr/bin/env python3
"""The table of bench/gpu_compare.sh from the files of its runs, in Markdown; FOLDER/results.json has the same figures.

usage: gpu_table.py FOLDER [FAILED...], which has NAME.RUN.json (the program's own figures) and NAME.RUN.memory
(gpu_memory.py's), NAME one of torch, F16, Q8_0, RUN from 1, and with torch peak.json (GFLOP/s by type). FAILED: names
of the steps that failed. Exits 1 if Choir has no run.
       gpu_table.py --has-gpu ANY N DEVICES.json: exits 1 and says why unless the list of `choir devices --json` has a
hardware GPU (ANY 1: any Vulkan device); N: that one, or -1.
"""
import glob
import json
import os
import sys

MIB = 1 << 20
FORMATS = ("F16", "Q8_0")


def read(path):
    with open(path) as file:
        return json.load(file)


def has_gpu(any_device, number, path):
    devices = [device for device in read(path)["devices"] if device["backend"] == "vulkan"]
    if number >= 0:
        if number >= len(devices):
            return f"there is no Vulkan device {number}; `choir devices` lists {len(devices)}"
        devices = [devices[number]]
    if not devices:
        return "no Vulkan device: install the GPU's Vulkan driver (`vulkaninfo --summary` shows it), then see `choir devices`"
    if any_device or any(not device["is_software"] for device in devices):
        return ""
    return f"no hardware GPU with a Vulkan driver here, only {devices[0]['name']}; --any-device tries the script with that"


def runs(folder, name):
    """The fastest run's figures, and all rates; None if there is no run."""
    found = []
    for path in sorted(glob.glob(os.path.join(folder, f"{name}.[0-9].json"))):
        figures = read(path)
        figures["memory"] = read(path.removesuffix(".json") + ".memory")
        figures["rate"] = (figures.get("train") or figures)["tokens_per_second"]
        found.append(figures)
    if not found:
        return None
    best = max(found, key=lambda figures: figures["rate"])
    best["rates"] = [figures["rate"] for figures in found]
    return best


def grown_bytes(figures):
    memory = figures["memory"]
    return None if memory["peak_bytes"] is None else memory["peak_bytes"] - memory["idle_bytes"]


def own_bytes(figures):
    """What the program says it has on the device."""
    if "train" not in figures:
        return figures["peak_bytes"]
    train = figures["train"]
    return train.get("device_bytes") or figures["weight_bytes"] + train["arena_bytes"] + train["workspace_bytes"]


def divided(value, base):
    return value / base if value and base else None


def program(label, figures, flops_per_token, torch, peaks):
    gflops = figures["rate"] * flops_per_token * 1e-9
    return {"program": label, "tokens_per_second": figures["rate"], "all_tokens_per_second": figures["rates"],
            "to_torch": divided(figures["rate"], torch and torch["rate"]), "gflops": gflops,
            "share_of_bf16_peak": divided(gflops, peaks.get("bf16")), "share_of_f32_peak": divided(gflops, peaks.get("f32")),
            "gpu_bytes": grown_bytes(figures), "gpu_bytes_to_torch": divided(grown_bytes(figures), torch and grown_bytes(torch)),
            "own_bytes": own_bytes(figures)}


def row(entry):
    def ratio(value):
        return "" if value is None else f"{value:.2f}"

    def percent(value):
        return "" if value is None else f"{100 * value:.1f} %"

    def mib(value):
        return "" if value is None else f"{value / MIB:.0f}"

    rates = entry["all_tokens_per_second"]
    cells = [entry["program"], f"{entry['tokens_per_second']:.0f} ({min(rates):.0f} to {max(rates):.0f})", ratio(entry["to_torch"]),
             f"{entry['gflops']:.0f}", percent(entry["share_of_bf16_peak"]), percent(entry["share_of_f32_peak"]),
             mib(entry["gpu_bytes"]), ratio(entry["gpu_bytes_to_torch"]), mib(entry["own_bytes"])]
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


def other_gpu(choir_name, torch_name):
    """Drivers spell names differently; two GPUs of one machine rarely share a number."""
    def numbers(name):
        return {word for word in name.replace("(", " ").replace(")", " ").split() if any(c.isdigit() for c in word)}
    return bool(numbers(choir_name)) and bool(numbers(torch_name)) and not numbers(choir_name) & numbers(torch_name)


def heading(formats, torch, peaks, failed):
    first = next(iter(formats.values()))
    train = first["train"]
    lines = [f"{first['shape']}, ctx {first['context_tokens']}, LoRA r = {train['rank']} on {train['modules']}; the fastest of "
             f"{len(first['rates'])} runs, programs in turn", "",
             f"Choir: {first['device']} ({', '.join(first['features'])})"]
    for name, figures in formats.items():
        lines.append(f"Products of Choir, {name}: {'; '.join(figures['ways']) or 'f32'}")
    if torch is not None:
        lines.append(f"PyTorch {torch['torch']}, transformers {torch['transformers']}, PEFT {torch['peft']}: {torch['device']}" + (
            f"; products at best: bf16 {peaks['bf16']:.0f}, f32 {peaks['f32']:.0f} GFLOP/s" if peaks else ""))
        if other_gpu(first["device"], torch["device"]):
            lines.append("**These may be two different GPUs**: choose them with --device and CUDA_VISIBLE_DEVICES.")
    if failed:
        lines.append(f"**Failed, and not in the table**: {', '.join(failed)}.")
    return lines


def main():
    if sys.argv[1] == "--has-gpu":
        problem = has_gpu(sys.argv[2] == "1", int(sys.argv[3]), sys.argv[4])
        print(f"gpu_compare: {problem}" if problem else "", end="\n" if problem else "")
        return 1 if problem else 0
    folder, failed = sys.argv[1], sys.argv[2:]
    torch = runs(folder, "torch")
    peak_path = os.path.join(folder, "peak.json")
    peaks = read(peak_path) if os.path.exists(peak_path) else {}
    formats = {name: figures for name in FORMATS if (figures := runs(folder, name))}
    if not formats:
        return 1
    first = next(iter(formats.values()))
    train = first["train"]
    # The same work for both: what `choir bench` counts for a step of this shape.
    flops_per_token = train["flops_per_step"] / (train["fastest_step_seconds"] * train["tokens_per_second"])
    entries = [] if torch is None else [program("PyTorch + PEFT, bf16", torch, flops_per_token, torch, peaks)]
    entries += [program(f"Choir, {name}", figures, flops_per_token, torch, peaks) for name, figures in formats.items()]
    lines = heading(formats, torch, peaks, failed)
    lines += ["", "| program, weights | tokens/s (all runs) | to PyTorch | GFLOP/s | of the bf16 peak | of the f32 peak | GPU memory, MiB | to PyTorch "
              "| its own count, MiB |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    lines += [row(entry) for entry in entries]
    lines += ["", "GPU memory: what the whole device has in use at most, less what it had before (empty: its driver does not tell). Its own count: PyTorch's "
              "allocator; Choir's buffers."]
    for name, figures in formats.items():
        lines += profile(f"Choir, {name}", figures)
    with open(os.path.join(folder, "results.json"), "w") as file:
        json.dump({"shape": first["shape"], "context_tokens": first["context_tokens"], "device": first["device"],
                   "features": first["features"], "torch": torch, "peak_gflops": peaks, "failed": failed, "programs": entries,
                   "choir": formats}, file, indent=1)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
