#!/usr/bin/env python3
"""bench/gpu_compare.sh with stand-ins for Choir, PyTorch, transformers and PEFT: its table, and what it says where a step
fails. (The comparison itself needs a GPU; Choir's own part runs on any Vulkan device with --any-device.)"""
import json
import os
import subprocess
import sys
import tempfile
import textwrap

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = {"shape": "llama-134m", "context_tokens": 64, "device": "Stand-in 9000", "features": ["fp16"], "ways": ["fp16 products"], "weight_bytes": 1 << 20,
         "train": {"tokens_per_second": 200.0, "fastest_step_seconds": 0.32, "flops_per_step": 6.4e9, "rank": 8, "modules": "all",
                   "arena_bytes": 1 << 20, "workspace_bytes": 0, "device_bytes": 3 << 20,
                   "ops": [{"op": "linear", "calls": 2, "seconds": 0.1, "flops": 1e9, "bytes": 1e6}]}}
CHOIR = f"""\
#!{sys.executable}
import json, os, sys
if sys.argv[1] == "devices":
    print(json.dumps({{"devices": [{{"backend": "vulkan", "name": "Stand-in 9000", "is_software": bool(os.environ.get("SOFTWARE"))}}]}}))
elif os.environ.get("FAILS") in sys.argv:
    sys.exit("choir: error: out of memory")
else:
    print({json.dumps(json.dumps(BENCH))})
"""
TORCH = """\
class Tensor:
    def to(self, *_): return self
    def __matmul__(self, other): return self
    def backward(self): pass
    def item(self): return 1.5
class cuda:
    is_available = staticmethod(lambda: True)
    synchronize = staticmethod(lambda: None)
    max_memory_allocated = staticmethod(lambda: 5 << 20)
    get_device_name = staticmethod(lambda: "Stand-in 9000")
class optim:
    class AdamW:
        def __init__(self, parameters, lr): list(parameters)
        def step(self): pass
        def zero_grad(self, set_to_none): pass
__version__ = "2.stand-in"
bfloat16 = float32 = None
manual_seed = lambda seed: None
randn = randint = lambda *_, **__: Tensor()
print("a library that prints")
"""
TRANSFORMERS = """\
__version__ = "4.stand-in"
class LlamaConfig:
    def __init__(self, **values): self.__dict__.update(values)
class Model:
    def to(self, *_): return self
    def train(self): pass
    def parameters(self): return []
    def __call__(self, input_ids, labels):
        import torch
        self.loss = torch.Tensor()
        return self
class AutoModelForCausalLM:
    from_config = staticmethod(lambda config: Model())
"""
PEFT = """\
import os
if os.environ.get("NO_PEFT"): raise ImportError("No module named 'peft'")
__version__ = "0.stand-in"
LoraConfig = dict
get_peft_model = lambda model, config: model
"""


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.choir = os.path.join(folder, "choir")
        self.write("choir", CHOIR)
        os.chmod(self.choir, 0o755)
        for name, text in (("torch", TORCH), ("transformers", TRANSFORMERS), ("peft", PEFT)):
            self.write(f"modules/{name}.py", text)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(textwrap.dedent(text))

    def run(self, out, *options, **environment):
        command = ["bash", os.path.join(HERE, "gpu_compare.sh"), *options, self.choir, "llama-134m", "64", os.path.join(self.folder, out)]
        done = subprocess.run(command, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": os.path.join(self.folder, "modules"), **environment})
        return done.returncode, done.stdout, done.stderr


def expect(condition, what, *details):
    if not condition:
        sys.exit(f"gpu_compare_test: {what}\n" + "\n".join(str(detail) for detail in details))


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        code, table, messages = place.run("all")
        expect(code == 0 and "| PyTorch + PEFT, bf16 |" in table and "| Choir, Q8_0 | 200 (200 to 200) |" in table, "no table", code, table, messages)
        with open(os.path.join(folder, "all/results.json")) as file:
            results = json.load(file)
        programs = {entry["program"]: entry for entry in results["programs"]}
        expect(programs["Choir, F16"]["to_torch"] > 0 and programs["Choir, F16"]["gflops"] == 20 and results["failed"] == [], "wrong figures", programs)
        expect(programs["Choir, F16"]["own_bytes"] == 3 << 20 and programs["PyTorch + PEFT, bf16"]["own_bytes"] == 5 << 20, "wrong memory", programs)
        code, _, messages = place.run("all")
        expect(code == 2 and "has files already" in messages, "an old folder was taken", code, messages)
        code, table, messages = place.run("half", FAILS="Q8_0")
        expect(code == 1 and "Q8_0.2 failed with exit code 1" in messages and "out of memory" in messages, "a failure is not named", code, messages)
        expect("| Choir, F16 |" in table and "| Choir, Q8_0 |" not in table and "Q8_0.1, Q8_0.2, Q8_0.3" in table, "the rest is not shown", table)
        code, table, messages = place.run("none", "--without-torch", FAILS="bench")
        expect(code == 1 and "nothing to make a table of" in messages, "nothing is taken for something", code, messages)
        code, _, messages = place.run("software", SOFTWARE="1")
        expect(code == 4 and "no hardware GPU" in messages, "a software device was taken", code, messages)
        code, _, messages = place.run("number", "--device", "3")
        expect(code == 4 and "no Vulkan device 3" in messages, "a device that is not there was taken", code, messages)
        code, _, messages = place.run("no-peft", NO_PEFT="1")
        expect(code == 4 and "pip install" in messages, "a missing module is not named", code, messages)
        code, table, messages = place.run("alone", "--without-torch", NO_PEFT="1")
        expect(code == 0 and "| Choir, F16 | 200 (200 to 200) |  | 20 |" in table, "Choir alone has no table", code, table, messages)
        place.choir = os.path.join(folder, "nowhere")
        code, _, messages = place.run("missing")
        expect(code == 2 and "is no program" in messages, "a missing program is not named", code, messages)


if __name__ == "__main__":
    main()
