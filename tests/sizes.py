#!/usr/bin/env python3
"""Fails when a source file or a function has grown past its wall: 700 lines a file, 70 a function.

Kernels (engine/backend, shaders) and tables may have longer functions; their files have the same wall.
"""
import pathlib
import re
import sys

FILE_WALL, FUNCTION_WALL = 700, 70
ROOTS = ("base", "engine", "secure-agg", "proto", "coordinator", "node", "cli", "tests", "bench")
LONG_FUNCTIONS = ("engine/backend/",)
# clang-format puts a function's opening line in column 0 (or inside a class, indented) and its closing brace
# alone at the same indent.
OPENING = re.compile(r"^(\s*)(?!(?:namespace|class|struct|enum|union|extern|constexpr|const|static const|using|"
                     r"if|for|while|switch|else|do|return|TEST|case)\b)[\w:~<>&*\[\]].*\)[^;=]*\{$")


def functions(lines):
    start = indent = None
    for number, line in enumerate(lines, 1):
        if start is None:
            match = OPENING.match(line)
            if match:
                start, indent = number, match.group(1)
        elif line.lstrip().startswith("}") and len(line) - len(line.lstrip()) <= len(indent):
            yield start, number - start + 1
            start = None


def main():
    root = pathlib.Path(sys.argv[1])
    bad, count = [], 0
    for room in ROOTS:
        for file in sorted((root / room).rglob("*")):
            if file.suffix not in {".h", ".cc", ".comp", ".glsl", ".py"}:
                continue
            count += 1
            path = file.relative_to(root).as_posix()
            lines = file.read_text().splitlines()
            if len(lines) > FILE_WALL:
                bad.append(f"{path}: {len(lines)} lines (wall: {FILE_WALL})")
            if file.suffix in {".h", ".cc"} and not path.startswith(LONG_FUNCTIONS):
                bad += [f"{path}:{at}: a function of {size} lines (wall: {FUNCTION_WALL})"
                        for at, size in functions(lines) if size > FUNCTION_WALL]
    print("\n".join(bad) or f"sizes: {count} files within their walls")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
