"""Runs `choir demo` with few steps, and checks what a user would: that every node learned.

usage: demo_smoke_test.py CHOIR
"""
import json
import os
import subprocess
import sys
import tempfile

ROUNDS = 3


def main():
    choir = sys.argv[1]
    with tempfile.TemporaryDirectory() as parent:
        keep = os.path.join(parent, "demo")
        done = subprocess.run(
            [choir, "demo", "--json", "--rounds", str(ROUNDS), "--steps", "8", "--keep", keep],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            logs = [name for name in os.listdir(keep) if name.endswith(".log")] if os.path.isdir(keep) else []
            for name in sorted(logs):
                with open(os.path.join(keep, name)) as log:
                    print(f"--- {name}\n{log.read()}")
            sys.exit(f"choir demo failed with {done.returncode}:\n{done.stderr}")
        check(json.loads(done.stdout), keep)
        again = subprocess.run([choir, "demo", "--keep", keep], stderr=subprocess.PIPE, text=True)
        assert again.returncode == 1 and "not an empty folder" in again.stderr, again


def check(result, folder):
    assert result["ok"] is True
    assert result["folder"] == folder
    assert result["run"]["state"] == "finished"
    assert [r["phase"] for r in result["run"]["rounds"]] == ["published"] * ROUNDS
    assert [r["contributors"] for r in result["run"]["rounds"]] == [4] * ROUNDS
    nodes = result["nodes"]
    assert len({node["node_id"] for node in nodes}) == 4
    # A masked vector has a ring element (four bytes) for each value, whatever the values are.
    least = ROUNDS * 4 * result["run"]["num_values"]
    for node in nodes:
        print(node["name"], node["nll_before"], "->", node["nll_after"])
        assert node["nll_after"] < node["nll_before"]
        assert node["rounds_contributed"] == ROUNDS
        assert least <= node["masked_bytes_sent"] < 1.1 * least
    assert len({node["masked_bytes_sent"] for node in nodes}) == 1
    print("seconds:", result["seconds"])


main()
