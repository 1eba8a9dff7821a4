# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""SentencePiece-style BPE for test tools: trains a small vocabulary and encodes with one (GGUF tokenizer "llama").

Encoding follows SentencePiece's BPE model: spaces become U+2581, then the adjacent pair whose concatenation has the
highest score is merged, leftmost first, until none is left; characters outside the vocabulary become byte tokens.
"""

import collections
import heapq
import math

SPACE = "\u2581"
UNKNOWN, BOS, EOS = 0, 1, 2
FIRST_BYTE = 3
NORMAL_TYPE, UNKNOWN_TYPE, CONTROL_TYPE, BYTE_TYPE = 1, 2, 3, 6


class Tokenizer:
    """Pieces, scores and types are parallel lists, as in tokenizer.ggml.{tokens,scores,token_type}."""

    def __init__(self, pieces, scores, types, add_space_prefix=True):
        self.pieces, self.scores, self.types = pieces, scores, types
        self.add_space_prefix = add_space_prefix
        self._mergeable = {}
        self._byte_ids = {}
        for token, (piece, kind) in enumerate(zip(pieces, types)):
            if kind == BYTE_TYPE:
                self._byte_ids[int(piece[3:5], 16)] = token
            elif kind == NORMAL_TYPE:
                self._mergeable.setdefault(piece, token)

    @classmethod
    def from_metadata(cls, metadata):
        return cls(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.scores"],
                   metadata["tokenizer.ggml.token_type"], metadata.get("tokenizer.ggml.add_space_prefix", True))

    def encode(self, text, skip_merge=lambda: False):
        """Token ids without BOS or EOS. skip_merge may refuse merges: BPE-dropout (Provilkov et al. 2020)."""
        if not text:
            return []
        text = (" " + text if self.add_space_prefix else text).replace(" ", SPACE)
        ids = []
        for symbol in self._merge(list(text), skip_merge):
            token = self._mergeable.get(symbol)
            ids += [token] if token is not None else [self._byte_ids[b] for b in symbol.encode("utf-8")]
        return ids

    def _merge(self, symbols, skip_merge):
        count = len(symbols)
        before, after = list(range(-1, count - 1)), list(range(1, count + 1))
        heap = []

        def offer(left, right):
            if left < 0 or right >= count:
                return
            joined = symbols[left] + symbols[right]
            token = self._mergeable.get(joined)
            if token is not None and not skip_merge():
                heapq.heappush(heap, (-self.scores[token], left, right, joined))

        for left in range(count - 1):
            offer(left, left + 1)
        while heap:
            _, left, right, joined = heapq.heappop(heap)
            # An entry is stale once either side was merged into something else.
            if symbols[left] is None or symbols[right] is None or after[left] != right:
                continue
            if symbols[left] + symbols[right] != joined:
                continue
            symbols[left], symbols[right] = joined, None
            after[left] = after[right]
            if after[right] < count:
                before[after[right]] = left
            offer(before[left], left)
            offer(left, after[left])
        return [s for s in symbols if s is not None]

    def decode(self, ids):
        """Text of the ids; the space that encode() put in front is removed."""
        data = b""
        for token in ids:
            if self.types[token] == BYTE_TYPE:
                data += bytes([int(self.pieces[token][3:5], 16)])
            elif self.types[token] == NORMAL_TYPE:
                data += self.pieces[token].replace(SPACE, " ").encode("utf-8")
        text = data.decode("utf-8", "replace")
        return text[1:] if self.add_space_prefix and text.startswith(" ") else text


def _count_pairs(words):
    pairs = collections.Counter()
    for symbols, count in words:
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] += count
    return pairs


def _apply_merge(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def _word_counts(texts):
    """Whole words with their leading space mark; punctuation and line ends stand alone so that pieces stay clean."""
    counts = collections.Counter()
    for text in texts:
        for word in (SPACE + text.replace(" ", " " + SPACE).replace("\n", " \n ")).split(" "):
            stem = word.rstrip(".,;:!?\"'")
            if stem:
                counts[stem] += 1
            for mark in word[len(stem):]:
                counts[mark] += 1
    return counts


def train(texts, vocab_size, alphabet):
    """A Tokenizer of exactly vocab_size pieces: <unk>, <s>, </s>, 256 bytes, merges in order, then single characters.

    alphabet: characters that get a piece of their own whether or not the texts hold them.
    """
    counts = _word_counts(texts)
    characters = sorted(set(alphabet) | {SPACE} | {c for word in counts for c in word if c != "\n"})
    merge_count = vocab_size - FIRST_BYTE - 256 - len(characters)
    # Square roots keep the few words that generated texts repeat from taking every merge.
    words = [(list(word), math.isqrt(count)) for word, count in sorted(counts.items()) if len(word) > 1]
    merges = []
    while len(merges) < merge_count:
        pairs = _count_pairs(words)
        # Ties go to the pair that sorts first, so that the vocabulary depends on the texts alone.
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if best[0] + best[1] not in merges:
            merges.append(best[0] + best[1])
        words = [(_apply_merge(symbols, best), count) for symbols, count in words]
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    ranked = merges + characters
    pieces = ["<unk>", "<s>", "</s>"] + bytes_ + ranked
    scores = [0.0] * (FIRST_BYTE + 256) + [-float(rank) for rank in range(len(ranked))]
    types = [UNKNOWN_TYPE, CONTROL_TYPE, CONTROL_TYPE] + [BYTE_TYPE] * 256 + [NORMAL_TYPE] * len(ranked)
    return Tokenizer(pieces, scores, types)
