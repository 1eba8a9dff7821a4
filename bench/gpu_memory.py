#!/usr/bin/env python3
"""Runs a command and writes what its GPU memory was, for bench/gpu_compare.sh.

usage: gpu_memory.py OUT.json COMMAND...

OUT.json: {"idle_bytes", "peak_bytes"} of the busiest GPU, by its driver (nvidia-smi, or amdgpu's files), ten times a
second; nulls where no driver tells. Whole-device figures: let nothing else use the GPU. Exits as the command does.
"""
import glob
import json
import subprocess
import sys
import threading


def used_bytes():
    """Bytes in use on each GPU; an empty list where nobody tells."""
    try:
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        return [int(line) << 20 for line in lines]
    except (OSError, ValueError, subprocess.CalledProcessError):
        pass
    used = []
    for path in sorted(glob.glob("/sys/class/drm/card*/device/mem_info_vram_used")):
        with open(path) as file:
            used.append(int(file.read()))
    return used


def main():
    out, command = sys.argv[1], sys.argv[2:]
    idle = used_bytes()
    peak = list(idle)
    done = threading.Event()

    def watch():
        while not done.wait(0.1):
            peak[:] = [max(a, b) for a, b in zip(peak, used_bytes())]

    watcher = threading.Thread(target=watch)
    if idle:
        watcher.start()
    code = subprocess.run(command).returncode
    done.set()
    if idle:
        watcher.join()
    grown = [high - low for low, high in zip(idle, peak)]
    busiest = grown.index(max(grown)) if grown else None
    with open(out, "w") as file:
        json.dump({"idle_bytes": None if busiest is None else idle[busiest],
                   "peak_bytes": None if busiest is None else peak[busiest]}, file)
    return code


if __name__ == "__main__":
    sys.exit(main())
