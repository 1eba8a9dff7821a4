"""`choir chat` as its users meet it: through a pipe with --json, and on a terminal.

The adapter of the reference data has random factors, so an answer with it is another one than without.
"""
import json
import os
import pty
import select
import subprocess
import sys
import tempfile

DATA = os.environ.get("CHOIR_TEST_DATA") or os.path.join(os.getcwd(), "..", "shared", "data")
MODEL = os.path.join(DATA, "models", "stories260K-f32.gguf")
ADAPTER = os.path.join(DATA, "reference", "lora", "stories260K-f32", "adapter.gguf")
CHAT = [os.path.join(os.environ["CHOIR_BIN"], "choir"), "chat", "--model", MODEL, "--backend", "cpu",
        "--chat-template", "plain", "--kv-cache", "f32", "-n", "24"]
SECONDS_TO_WAIT = 60  # for words that come in milliseconds


def ask(lines, *options):
    """The answers, parsed, and what was said on stderr."""
    done = subprocess.run([*CHAT, "--json", *options], input="\n".join(lines) + "\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def only_new_tokens_are_processed():
    said = ["Once upon a time", "And then?", "And the dog?"]
    kept, _ = ask(said, "--adapter", ADAPTER)
    assert [answer["adapter"] for answer in kept] == [True] * 3
    assert kept[0]["reused_tokens"] == 0
    for before, after in zip(kept, kept[1:]):
        # All that was held, but for what the template put after the question and the answer's last token.
        held = before["prompt_tokens"] + before["completion_tokens"] - 1
        assert held - 4 <= after["reused_tokens"] <= held, (before, after)
    # Loading the same adapter again leaves an empty cache: the conversation is processed anew.
    anew, _ = ask([said[0], f"/adapter {ADAPTER}", said[1], f"/adapter {ADAPTER}", said[2]], "--adapter", ADAPTER)
    assert [answer["reused_tokens"] for answer in anew] == [0, 0, 0]
    assert [answer["content"] for answer in anew] == [answer["content"] for answer in kept]
    assert [answer["prompt_tokens"] for answer in anew] == [answer["prompt_tokens"] for answer in kept]


def a_full_context_forgets_the_oldest_turns():
    answers, said = ask(["Once upon a time there was a cat."] * 4, "--ctx", "128")
    assert "forgot the" in said and "the context of 128" in said, said
    assert len(answers) == 4 and all(answer["prompt_tokens"] < 128 for answer in answers), answers
    answers, said = ask(["word " * 200, "Hello"], "--ctx", "128")
    assert "shorten it" in said and len(answers) == 1, said


def commands_answer_and_save():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "talk.jsonl")
        answers, said = ask(["/save " + path, "/adapter on", "/nonsense", "/system Be kind.", "Hello", "/save " + path,
                             "/save " + path, "/save " + ADAPTER, "/adapter " + MODEL, "/system off", "/reset", "/save x"])
        for words in ["nothing was said yet", "there is no adapter", "/nonsense is no command", "(system: Be kind.)",
                      "(saved to ", "exists: choose another name", "(no system message)", "(a new conversation)"]:
            assert words in said, (words, said)
        with open(path, encoding="utf-8") as saved:
            messages = json.loads(saved.read())["messages"]
        assert [message["role"] for message in messages] == ["system", "user", "assistant"], messages
        assert messages[2]["content"] == answers[0]["content"]
        assert os.stat(path).st_mode & 0o77 == 0


class Terminal:
    """A pseudo-terminal with the program on its other side."""

    def __init__(self, *options):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execv(CHAT[0], [*CHAT, *options])

    def until(self, mark):
        text = b""
        while not text.endswith(mark.encode()):
            ready, _, _ = select.select([self.fd], [], [], SECONDS_TO_WAIT)
            assert ready, f"{mark!r} did not come; only {text!r}"
            text += os.read(self.fd, 4096)
        return text.decode("utf-8").replace("\r\n", "\n")

    def say(self, line, mark="> "):
        """The words between the echoed line and the next prompt."""
        os.write(self.fd, line.encode() + b"\n")
        text = self.until(mark)
        assert text.startswith(line + "\n"), text
        return text[len(line) + 1:-len(mark)]

    def quit(self):
        os.write(self.fd, b"/quit\n")
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def an_adapter_is_switched_on_a_terminal():
    terminal = Terminal("--adapter", ADAPTER)
    assert "/help" in terminal.until("[adapter] > ")
    question = "Tell me of the café"
    with_adapter = terminal.say(question, "[adapter] > ")
    assert "without" in terminal.say("/adapter off")
    terminal.say("/reset")
    without = terminal.say(question)
    assert without != with_adapter, without
    terminal.say("/reset")
    assert "with the adapter" in terminal.say("/adapter on", "[adapter] > ")
    assert terminal.say(question, "[adapter] > ") == with_adapter
    assert "/save FILE" in terminal.say("/help", "[adapter] > ")
    assert terminal.quit() == 0


def main():
    if not (os.path.exists(MODEL) and os.path.exists(ADAPTER)):
        print("the reference data is not here (CHOIR_TEST_DATA)")
        sys.exit(77)
    only_new_tokens_are_processed()
    a_full_context_forgets_the_oldest_turns()
    commands_answer_and_save()
    an_adapter_is_switched_on_a_terminal()


if __name__ == "__main__":
    main()
