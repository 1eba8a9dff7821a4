# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Generates the demo's texts from the grammars beside it; the same seed writes the same files.

usage: make_demo_corpus.py nodes OUT_FOLDER     OUT_FOLDER/<node>/{train,test}.jsonl, as shipped in deploy/demo/data
       make_demo_corpus.py base OUT_FILE        the base model's training texts, one {"text": ...} a line
"""

import json
import pathlib
import random
import re
import sys

import demo_stories
import demo_voices
from text_grammar import Grammar

BASE_TEXTS = 16000
TRAIN_RECORDS, TEST_RECORDS = 120, 20
# So that the base model can spell the nodes' words without ever having seen one of their sentences.
WORD_LIST_SHARE = 0.15
WORD_LIST_OPENINGS = ["Words to learn:", "My words for today:", "Can you read these words?", "Word list:"]
SEED = 20


def distinct_texts(make, count):
    """`count` different texts in the order they first appear."""
    texts = {}
    while len(texts) < count:
        texts.setdefault(make())
    return list(texts)


def voice_words():
    """Every word that the nodes' grammars can say, in either case, sorted."""
    words = set()
    for voice in demo_voices.VOICES.values():
        for texts in [*voice["rules"].values(), *voice["beats"]]:
            for text in texts:
                words.update(re.findall(r"[A-Za-z']+|\d+", re.sub(r"\{.*?\}", "", text or "")))
    return sorted(words | {word.lower() for word in words} | {word.capitalize() for word in words})


def word_list(source, words):
    chosen = source.sample(words, source.randint(8, 20))
    return f"{source.choice(WORD_LIST_OPENINGS)} {', '.join(chosen)}."


def base_texts():
    source, words = random.Random(SEED), voice_words()
    grammar = Grammar(demo_stories.RULES, source)

    def make():
        return word_list(source, words) if grammar.chance(WORD_LIST_SHARE) else demo_stories.make_text(grammar)

    return distinct_texts(make, BASE_TEXTS)


def node_texts(node):
    """(train, test): no test record is a train record, though sentences may repeat as people repeat themselves."""
    voice = demo_voices.VOICES[node]
    grammar = Grammar(voice["rules"], random.Random(f"{SEED} {node}"))
    texts = distinct_texts(lambda: grammar.compose(voice["beats"], {}), TRAIN_RECORDS + TEST_RECORDS)
    return texts[:TRAIN_RECORDS], texts[TRAIN_RECORDS:]


def write_jsonl(path, texts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def main(what, out):
    if what == "base":
        write_jsonl(out, base_texts())
        return
    for node in demo_voices.VOICES:
        train, test = node_texts(node)
        write_jsonl(out / node / "train.jsonl", train)
        write_jsonl(out / node / "test.jsonl", test)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("base", "nodes"):
        sys.exit(__doc__)
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
