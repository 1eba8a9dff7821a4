# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""Sentences from templates: "{place}" is replaced by one of the alternatives of rule "place", again and again.

"{place:there}" also remembers the choice, and "{there}" repeats it in the same text. Names given in the context win
over rules. tidy() repairs what templates cannot know: a/an, and capital letters where a sentence begins.
"""

import re

_SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")
# After a quotation only a full stop ends the sentence: "Stop!" said the miller.
_SENTENCE_START = re.compile(r"(^|[.!?] |\.\" |\n)([a-z])")


class Grammar:
    """rules: name -> alternatives. The random source is the caller's, so a seed decides every text."""

    def __init__(self, rules, random_source):
        self._rules = rules
        self._random = random_source

    def expand(self, template, context):
        """Fills one template; remembered choices are added to context."""
        def fill(match):
            rule, memory = match.groups()
            if memory in context:
                return context[memory]
            text = context[rule] if rule in context else self.expand(self.pick(self._rules[rule]), context)
            if memory:
                context[memory] = text
            return text
        return _SLOT.sub(fill, template)

    def pick(self, alternatives):
        return self._random.choice(alternatives)

    def chance(self, probability):
        return self._random.random() < probability

    def compose(self, beats, context):
        """One sentence (or a few) from each beat, in order. A beat is a list of alternatives; None leaves it out."""
        chosen = [self.pick(beat) for beat in beats]
        return " ".join(tidy(self.expand(text, context)) for text in chosen if text is not None)


def tidy(text):
    text = _ARTICLE.sub(r"\1n ", text)
    return _SENTENCE_START.sub(lambda m: m.group(1) + m.group(2).upper(), text)
