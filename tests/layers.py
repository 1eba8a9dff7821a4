#!/usr/bin/env python3
"""Fails when a file includes a header of a floor or room that it may not see (docs/architecture.md)."""
import pathlib
import re
import sys

BASE = {"base"}
ENGINE = BASE | {"engine"}
SECAGG = BASE | {"privacy", "secure-agg/core"}
# Longest prefix wins. A room may always include itself and its sub-folders; tests may include anything.
ALLOWED = {
    "base": set(),
    "engine": ENGINE,
    "engine/ops": BASE | {"engine/ops", "engine/quant", "engine/graph/autodiff.h", "engine/graph/graph.h"},
    "engine/gguf": BASE,
    "engine/quant": BASE,
    "engine/graph": BASE | {"engine/ops", "engine/quant"},
    "engine/backend": BASE | {"engine/ops", "engine/quant", "engine/graph"},
    "privacy": BASE,
    "secure-agg/core": BASE | {"privacy"},
    "secure-agg/client": SECAGG,
    "secure-agg/server": SECAGG,
    "proto": BASE | {"choir/v1", "privacy", "secure-agg"},
    "coordinator": BASE | {"choir/v1", "privacy", "proto", "engine/lora", "engine/gguf", "secure-agg/core", "secure-agg/server", "coordinator"},
    "coordinator/gate": BASE | {"engine"},
    "coordinator/strategy": BASE | {"engine/lora"},
    "node": BASE | {"choir/v1", "privacy", "proto", "engine", "secure-agg/core", "secure-agg/client", "node"},
    "bench": BASE | {"engine", "privacy", "secure-agg", "bench"},
    "cli": BASE | {"choir/v1", "privacy", "proto", "engine", "bench", "node/identity", "node/control",
                                       "node/ledger", "node/task/adapter_chain.h", "node/task/adapter_library.h"},
}
# Words that may appear only in their own room.
ONLY_IN = [
    (re.compile(r"\bVk[A-Z]\w+|\bvk[A-Z]\w+\(|#include <vulkan"), "engine/backend/vulkan"),
    (re.compile(r"\bsqlite3_\w+|#include <sqlite3"), "coordinator/store"),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
ROOTS = ("base", "engine", "privacy", "secure-agg", "proto", "coordinator", "node", "bench", "cli")


def rule_of(path):
    return max((room for room in ALLOWED if path.startswith(room + "/")), key=len, default=None)


def is_test(path):
    return path.endswith(("_test.cc", "_fuzz.cc")) or "conformance" in path or "test_" in pathlib.Path(path).name


def check(root, file):
    path = file.relative_to(root).as_posix()
    room = rule_of(path)
    if room is None or is_test(path):
        return
    for number, line in enumerate(file.read_text().splitlines(), 1):
        for pattern, home in ONLY_IN:
            if pattern.search(line) and not path.startswith(home + "/"):
                yield f"{path}:{number}: belongs in {home}: {line.strip()}"
        match = INCLUDE.match(line)
        if not match:
            continue
        there = match.group(1)
        if not there.startswith(ROOTS + ("choir/v1", "tests/")) or "/" not in there:
            continue
        allowed = ALLOWED[room] | {room}
        if not any(there == a or there.startswith(a + "/") for a in allowed):
            yield f"{path}:{number}: {room} may not include {there}"


def main():
    root = pathlib.Path(sys.argv[1])
    files = [f for r in ROOTS for f in sorted((root / r).rglob("*")) if f.suffix in {".h", ".cc"}]
    bad = [message for f in files for message in check(root, f)]
    print("\n".join(bad) or f"layers: {len(files)} files, every include points downwards")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
