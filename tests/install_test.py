#!/usr/bin/env python3
"""What `cmake --install` leaves is whole and works from where it lies. usage: install_test.py CMAKE BUILD_FOLDER"""
import json
import pathlib
import subprocess
import sys
import tempfile

FILES = [
    "bin/choir", "bin/choird", "bin/choir-coordinator", "share/choir/configs/node.toml", "share/choir/demo/model.gguf",
    "share/choir/demo/data/sailor/train.jsonl", "share/doc/choir/operating.md", "share/doc/choir/LICENSE",
    "share/man/man1/choir.1", "share/man/man1/choird.1", "share/man/man1/choir-coordinator.1",
]
UNITS = {"lib/systemd/system/choir-coordinator.service": "choir-coordinator --config",
         "lib/systemd/user/choird.service": "choird --log-level"}


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=60).stdout


def main():
    cmake, build = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="choir-install-") as folder:
        prefix = pathlib.Path(folder)
        run(cmake, "--install", build, "--prefix", prefix)
        missing = [name for name in FILES if not (prefix / name).is_file()]
        if missing:
            sys.exit(f"install: not there: {missing}")
        for unit, command in UNITS.items():
            if f"ExecStart={prefix}/bin/{command}" not in (prefix / unit).read_text():
                sys.exit(f"install: {unit} does not run {prefix}/bin/{command}")
        for program in ("choir", "choird", "choir-coordinator"):
            run(prefix / "bin" / program, "--version")
        demo = prefix / "share/choir/demo"
        found = json.loads(run(prefix / "bin/choir", "eval", "--model", demo / "model.gguf", "--data",
                               demo / "data/sailor/test.jsonl", "--backend", "cpu", "--json"))
        if not 0 < found["mean_nll"] < 10:
            sys.exit(f"install: the installed model evaluates to {found}")
    print("install: whole, and works")


if __name__ == "__main__":
    main()
