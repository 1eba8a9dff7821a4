# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""The programs on truncated, lying and hostile files: a clear message, an exit code that is not zero, and no crash.

The parsers have their own tests and fuzz targets; this one holds that the programs pass on what they say.
"""

import json
import pathlib
import re
import shutil
import socket
import struct
import sys
import tempfile
import unittest

import federation
import numpy as np

sys.path.insert(0, str(federation.REPOSITORY / "tests/tools"))
import gguf_file  # noqa: E402  (a plain folder of tools, not a package)

MODEL = federation.DEMO_MODEL
DATA = federation.DEMO_DATA / "baker/test.jsonl"
# What no user may ever see: our own checks, uncaught exceptions, sanitizers, dumps of stacks.
NEVER = re.compile(r"terminate called|Sanitizer|runtime error:|Check failed|CHECK|core dumped|Traceback|"
                   r"std::|nlohmann|what\(\)|\[mutex\.cc")


class Refusals(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="choir-bad-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def file(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def refused(self, program, *arguments, says="", codes=(1, 2, 3, 4)):
        done = federation.run_program(program, *arguments, seconds=30)
        told = f"{program} {' '.join(map(str, arguments))[:300]}: exit {done.returncode}\n{done.stderr[-2000:]}"
        self.assertIn(done.returncode, codes, told)
        self.assertRegex(done.stderr, rf"{program}: error: .*\S", told)
        self.assertNotRegex(done.stderr, NEVER, told)
        self.assertLess(len(done.stderr), 4000, told)
        if says:
            self.assertRegex(done.stderr, says, told)
        return done


class EngineFilesTest(Refusals):
    def damaged_models(self):
        """(name, bytes)"""
        whole = MODEL.read_bytes()
        for size in (0, 3, 4, 8, 23, 24, 100, 5000, len(whole) // 2, len(whole) - 1):
            yield f"cut-at-{size}", whole[:size]
        for name, offset, form, values in (
                ("magic", 0, "<I", (0, 0x46554746)), ("version", 4, "<I", (0, 1, 4, 0x03000000, 2**32 - 1)),
                ("tensors", 8, "<Q", (2**64 - 1, 2**63, 2**61, 2**40, 10**6)),
                ("keys", 16, "<Q", (2**64 - 1, 2**63, 2**61, 2**40, 10**6)),
                ("key-length", 24, "<Q", (2**64 - 1, 2**63, 2**34, 65536))):
            for value in values:
                lie = struct.pack(form, value)
                yield f"{name}-{value}", whole[:offset] + lie + whole[offset + len(lie):]
        yield "text", b"this is no model\n" * 100
        yield "zeros", bytes(4096)

    def test_damaged_models(self):
        for name, data in self.damaged_models():
            path = self.file(f"{name}.gguf", data)
            with self.subTest(name):
                self.refused("choir", "eval", "--model", path, "--data", DATA, says=name, codes=(3,))
        path = self.file("half.gguf", MODEL.read_bytes()[:100000])
        for command in (("generate", "--prompt", "x"), ("inspect", "tokens", "--text", "x"),
                        ("plan", "--data", DATA), ("train", "--data", DATA, "--output", self.folder / "out.gguf")):
            with self.subTest(command[0]):
                self.refused("choir", *command, "--model", path, says="half.gguf", codes=(3,))
        self.assertFalse((self.folder / "out.gguf").exists())
        self.refused("choir", "eval", "--model", self.folder / "absent.gguf", "--data", DATA, codes=(3,))
        self.refused("choir", "eval", "--model", self.folder, "--data", DATA, codes=(3,))

    def lying_models(self):
        """(name, keys to change): well-formed files whose metadata cannot be."""
        for key in ("block_count", "embedding_length", "feed_forward_length", "attention.head_count"):
            for value in (0, 2**31, 2**32 - 1, 7):
                yield f"{key}-{value}", {f"llama.{key}": ("u32", value)}
        yield "eps", {"llama.attention.layer_norm_rms_epsilon": ("f32", float("nan"))}
        yield "architecture", {"general.architecture": ("str", "unheard-of")}
        yield "alignment", {"general.alignment": ("u32", 3)}
        yield "bos", {"tokenizer.ggml.bos_token_id": ("u32", 2**32 - 1)}

    def test_lying_models(self):
        metadata, tensors = gguf_file.read(MODEL)
        typed = {key: (kind_of(key, value), value) for key, value in metadata.items()}
        for name, changes in self.lying_models():
            path = self.folder / f"{name}.gguf"
            lies = {**typed, **changes}
            gguf_file.write(path, [(key, *value) for key, value in lies.items()],
                            [(tensor, *rest) for tensor, rest in tensors.items()])
            with self.subTest(name):
                self.refused("choir", "eval", "--model", path, "--data", DATA, says=re.escape(f"{name}.gguf"),
                             codes=(3,))

    def damaged_adapters(self):
        whole = self.folder / "adapter.gguf"
        federation.choir("train", "--model", MODEL, "--data", DATA, "--output", whole, "--steps", 1, "--rank", 2,
                         "--ctx", 32, "--backend", "cpu", "--threads", 1)
        data = whole.read_bytes()
        for size in (0, 4, 23, 200, len(data) - 1):
            yield f"cut-at-{size}", data[:size]
        yield "model", MODEL.read_bytes()
        metadata, tensors = gguf_file.read(whole)
        keys = [(key, kind_of(key, value), value) for key, value in metadata.items()]
        names = list(tensors)

        def written(keys, entries):
            path = self.folder / "written"
            gguf_file.write(path, keys, entries)
            return path.read_bytes()
        entries = [(name, *rest) for name, rest in tensors.items()]
        kind, shape, values = tensors[names[0]]
        nan = struct.pack("<f", float("nan"))
        yield "no-partner", written(keys, entries[1:])
        yield "nan", written(keys, [(names[0], kind, shape, nan + values[4:]), *entries[1:]])
        yield "other-shape", written(keys, [(names[0], kind, (shape[1], shape[0]), values), *entries[1:]])
        for alpha in (float("nan"), float("inf")):
            yield f"alpha-{alpha}", written(changed(keys, "adapter.lora.alpha", alpha), entries)
        yield "arch", written(changed(keys, "general.architecture", "qwen2"), entries)
        yield "foreign-name", written(keys, [("blk.999.attn_q.weight.lora_a", kind, shape, values), *entries[1:]])

    def test_damaged_adapters(self):
        for name, data in self.damaged_adapters():
            path = self.file(f"{name}.adapter", data)
            with self.subTest(name):
                self.refused("choir", "eval", "--model", MODEL, "--adapter", path, "--data", DATA,
                             says=re.escape(f"{name}.adapter"), codes=(3,))

    def test_damaged_data(self):
        for name, data in (("not-json", "{\n"), ("number", '{"text": 5}\n'), ("no-field", '{"words": "x"}\n'),
                           ("array", "[1, 2]\n"), ("empty", ""), ("blank", "\n\n\n"),
                           ("binary", bytes(range(256)) * 20),
                           ("utf8", b'{"text": "\xff\xfe"}\n'), ("deep", '{"text": ' + "[" * 100000 + "\n"),
                           ("second-line", '{"text": "fine"}\n{"text": \n'), ("surrogate", '{"text": "\\ud800"}\n'),
                           ("message", '{"messages": [{"role": 1}]}\n')):
            path = self.file(f"{name}.jsonl", data)
            with self.subTest(name):
                self.refused("choir", "eval", "--model", MODEL, "--data", path, says=name, codes=(3,))
        self.refused("choir", "eval", "--model", MODEL, "--data", self.folder / "absent", codes=(3,))
        (self.folder / "nothing").mkdir()
        self.refused("choir", "eval", "--model", MODEL, "--data", self.folder / "nothing", codes=(3,))


def changed(keys, wanted, value):
    return [(key, kind, value if key == wanted else old) for key, kind, old in keys]


def kind_of(key, value):
    """How gguf_file.write is told a value's type; lists by their first element."""
    if isinstance(value, (list, tuple)):
        return f"[{kind_of(key, value[0])}]" if not key.endswith("token_type") else "[i32]"
    if isinstance(value, bool):
        return "bool"
    return {int: "u32", float: "f32", str: "str"}[type(value)]


class FederationFilesTest(Refusals):
    @classmethod
    def setUpClass(cls):
        cls.there = federation.Federation()
        cls.addClassCleanup(cls.there.__exit__, None, None, None)
        cls.there.start_coordinator()
        cls.node = cls.there.enrol("node", federation.DEMO_DATA / "baker", MODEL)
        cls.there.coordinator.stop()  # so that the database is one file
        cls.stopped = cls.there.folder / "stopped"
        shutil.copytree(cls.there.data, cls.stopped)
        cls.there.start_coordinator()

    def operator(self, *arguments, says="", codes=(1, 2, 3, 4)):
        return self.refused("choir", *arguments, "--operator", self.there.operator, "--address", self.there.address,
                            says=says, codes=codes)

    def test_run_files(self):
        good = federation.run_settings("good", MODEL, cohort=4)
        federation.write_toml(self.folder / "good.toml", good)
        text = (self.folder / "good.toml").read_text()
        cases = {
            "syntax": text + "[run", "empty": "", "binary": bytes(range(256)), "nul": text.encode() + b"\0x = 1\n",
            "deep": "x = " + "[" * 5000, "unknown-table": text + "[surprise]\nx = 1\n",
            "unknown-key": text + "ranks = 4\n", "duplicate": text + text, "huge": text + "#" * (2 << 20),
        }
        for old, new in (("rank = 4", "rank = 0"), ("rank = 4", "rank = 99999999"), ("rank = 4", 'rank = "4"'),
                         ("rank = 4", "rank = 9223372036854775807"), ("alpha = 8", "alpha = nan"),
                         ("steps = 2", "steps = -1"), ("context = 64", "context = 0"),
                         ("learning_rate = 0.001", "learning_rate = inf"), ('name = "good"', 'name = "../evil"'),
                         ('name = "good"', 'name = ""'), ("min_cohort = 3", "min_cohort = 2"),
                         ("target_cohort = 4", "target_cohort = 2"), ('"fedavg"', '"unheard-of"'),
                         ('"windows"', '"sideways"'), ("stage_wait_s = 30", "stage_wait_s = 0"),
                         (str(MODEL), "absent.gguf"), ("over_selection = 0", "over_selection = -nan")):
            self.assertIn(old, text)
            cases[re.sub(r"\W+", "-", new)[:40]] = text.replace(old, new)
        for name, data in cases.items():
            path = self.file(f"run-{name}.toml", data)
            with self.subTest(name):
                self.operator("run", "start", path)
        self.operator("run", "start", self.folder / "absent.toml", codes=(3,))

    def test_run_start_with_damaged_models_and_adapters(self):
        model = self.file("cut.gguf", MODEL.read_bytes()[:50000])
        for name, run in (("model", {"base_model": str(model)}), ("adapter", {"initial_adapter": str(model)}),
                          ("model-as-adapter", {"initial_adapter": str(MODEL)})):
            with self.subTest(name):
                path = self.folder / "run.toml"
                federation.write_toml(path, federation.run_settings("cut", MODEL, cohort=4, run=run))
                self.operator("run", "start", path, codes=(3,), says="gguf")

    def test_names_and_options(self):
        for arguments in (("run", "show", "absent"), ("run", "stop", "absent"), ("run", "show", "../x"),
                          ("adapter", "pull", "absent", "--output", self.folder / "a.gguf"),
                          ("adapter", "list", "absent"), ("adapter", "list", "x" * 10000),
                          ("invite", "create", "--valid", "soon"), ("invite", "create", "--valid", "-5m")):
            with self.subTest(arguments[:3]):
                self.operator(*arguments)
        self.refused("choir", "federation", "init", "--name", "two", "--min-cohort", 2, "--data", self.folder / "d",
                     "--authority", self.folder / "a", "--operator", self.folder / "o")
        self.refused("choir", "federation", "init", "--name", "again", "--data", self.there.data,
                     "--authority", self.folder / "a2", "--operator", self.folder / "o2")
        self.refused("choir", "no-such-command", codes=(2,))

    def test_invites(self):
        whole = self.there.invite()
        body = whole.removeprefix("choir1:")
        flipped = body[:40] + ("A" if body[40] != "A" else "B") + body[41:]
        cases = ["", "choir1:", "hello", "choir2:" + body, whole[:-10], "choir1:" + flipped, "choir1:" + "A" * 100000,
                 "choir1:" + "=" * 40, whole + "x", "choir1:\u00e4"]
        for i, invite in enumerate(cases):
            with self.subTest(invite[:30]):
                self.refused("choir", "node", "enrol", invite, "--data", federation.DEMO_DATA, "--home",
                             self.folder / f"home-{i}")
        self.refused("choir", "node", "enrol", whole, "--data", self.folder / "absent", "--home", self.folder / "home")

    def test_operator_folders(self):
        cases = {"operator.key": [b"", b"garbage"], "operator.pem": [b"", b"garbage", "half"],
                 "operator.toml": [b"= =", b"address = 5\n", b"\0"], "root.pem": [b"", b"garbage"]}
        for name, contents in cases.items():
            for content in contents:
                with self.subTest(name, content=content):
                    folder = self.folder / "operator"
                    shutil.rmtree(folder, ignore_errors=True)
                    shutil.copytree(self.there.operator, folder)
                    path = folder / name
                    path.write_bytes(path.read_bytes()[:100] if content == "half" else content)
                    arguments = () if name == "operator.toml" else ("--address", self.there.address)
                    self.refused("choir", "run", "list", "--operator", folder, *arguments)
        self.refused("choir", "run", "list", "--operator", self.folder / "absent")
        for address in ("nowhere", "127.0.0.1:99999", "127.0.0.1:1", "", ":::"):
            with self.subTest(address):
                self.refused("choir", "run", "list", "--operator", self.there.operator, "--address", address or "x:0")

    def test_node_homes(self):
        journal = b"\x01" * 100
        cases = [("membership.pb", b""), ("membership.pb", b"\xff" * 200), ("membership.pb", "half"),
                 ("membership.pb", "flip"), ("device.key", b""), ("device.key", b"x"), ("device.key", "flip"),
                 ("node.toml", b"[policy"), ("node.toml", b"[policy]\nmin_cohort = 2\n"), ("node.toml", b"\xff\xfe"),
                 ("node.toml", b"[surprise]\nx = 1\n"), ("node.toml", b"[data]\nfolder = 7\n"), ("node.toml", b""),
                 ("round_counter", b"-5"), ("round_counter", b"\xff" * 20), ("work/task.pb", journal)]
        for name, content in cases:
            with self.subTest(name, content=content):
                home = self.folder / "home"
                shutil.rmtree(home, ignore_errors=True)
                shutil.copytree(self.node.home, home)
                path = home / name
                path.parent.mkdir(exist_ok=True)
                data = path.read_bytes() if path.exists() else b""
                middle = len(data) // 2
                content = {"half": data[:middle],
                           "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:] if data else b""
                           }.get(content, content)
                path.write_bytes(content)
                path.chmod(0o600)
                self.refused("choird", "--home", home, codes=(1,))
        self.refused("choird", "--home", self.folder / "absent", codes=(1,), says="enrol")
        home = self.folder / "open"
        shutil.copytree(self.node.home, home)
        (home / "device.key").chmod(0o644)
        self.refused("choird", "--home", home, codes=(1,))

    def test_coordinator_folders(self):
        names = ["coordinator.key", "tls.key", "tls.pem", "root.pem", "enrolment.key", "enrolment_ca.pem",
                 "manifest.pb", "choir.db"]
        for name in names:
            for damage in ("absent", "empty", "garbage", "half"):
                if name == "choir.db" and damage in ("absent", "empty"):
                    continue  # SQLite's own beginning: a coordinator without runs
                with self.subTest(name, damage=damage):
                    data = self.folder / "data"
                    shutil.rmtree(data, ignore_errors=True)
                    shutil.copytree(self.stopped, data)
                    path = data / name
                    whole = path.read_bytes()
                    path.unlink()
                    if damage != "absent":
                        half = whole[:len(whole) // 2]
                        path.write_bytes({"empty": b"", "garbage": b"\x5a" * 5000, "half": half}[damage])
                        path.chmod(0o600)
                    self.refused("choir-coordinator", "--data", data, "--listen", "127.0.0.1:0", "--enrol-listen",
                                 "127.0.0.1:0", codes=(1,))

    def test_coordinator_ports_and_settings(self):
        fresh = self.folder / "fresh"
        shutil.copytree(self.stopped, fresh)
        free = "127.0.0.1:0"
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = f"127.0.0.1:{taken.getsockname()[1]}"
            for listen, enrol_listen in ((port, free), (free, port), (self.there.address, free)):
                self.refused("choir-coordinator", "--data", fresh, "--listen", listen, "--enrol-listen", enrol_listen,
                             codes=(1,), says="in use")
        for listen in ("127.0.0.1:99999", "no such host:1", "300.1.1.1:5", "127.0.0.1:-1"):
            with self.subTest(listen):
                self.refused("choir-coordinator", "--data", fresh, "--listen", listen, "--enrol-listen", free)
        self.refused("choir-coordinator", "--data", self.there.data, "--listen", free, "--enrol-listen", free,
                     codes=(1,), says="another coordinator")
        for data in (self.folder / "absent", self.file("file", b"x")):
            self.refused("choir-coordinator", "--data", data, "--listen", free, "--enrol-listen", free, codes=(1,))
        for i, text in enumerate(("data = 5\n", "dta = 'x'\n", "[[", "\0", "listen = [1]\n")):
            path = self.file(f"c{i}.toml", text)
            with self.subTest(text):
                self.refused("choir-coordinator", "--config", path, says=rf"c{i}\.toml", codes=(2,))

    def test_garbage_on_the_ports_disturbs_nobody(self):
        endpoints = json.loads((self.there.data / "endpoints.json").read_text())
        random = np.random.default_rng(1)
        for address in (endpoints["coordinator"], endpoints["enrolment"]):
            host, port = address.rsplit(":", 1)
            for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
                         random.bytes(100000), b"\x16\x03\x01\xff\xff" + random.bytes(2000)):
                with socket.create_connection((host, int(port)), timeout=10) as connection:
                    try:
                        connection.sendall(data)
                    except ConnectionError:
                        pass  # it may hang up at once
        self.assertEqual(self.there.choir("run", "list"), [])
        self.assertTrue(self.there.coordinator.is_running())


if __name__ == "__main__":
    federation.main()
