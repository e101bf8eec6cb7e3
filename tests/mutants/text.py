"""C and Python as far as planting faults needs it: tokens, functions, simple statements.

No parser: what it takes for a statement and is none does not compile, and is not counted.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

_C_HIDDEN = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
    | ^[ \t]*\#[ \t]*(?!define[ ])(?:\\\n|[^\n])*
    | \bstatic_assert\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\s*;
    | \b__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_PYTHON_HIDDEN = re.compile(
    r'''\#[^\n]* | [rbfuRBFU]{0,2}"""(?:\\.|[^\\])*?""" | [rbfuRBFU]{0,2}"(?:\\.|[^"\\\n])*"
    | [rbfuRBFU]{0,2}'(?:\\.|[^'\\\n])*' ''',
    re.DOTALL | re.VERBOSE,
)
_TOKEN = re.compile(
    r"[A-Za-z_]\w*|0[xX][0-9a-fA-F]+[uUlL]*|\d[\w.]*"
    r"|->|\+\+|--|<<=|>>=|<<|>>|[-+*/%&|^<>=!]=|&&|\|\||[^\s\w]"
)
_C_FUNCTION = re.compile(r"^[A-Za-z_][^;{}#]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
_PYTHON_FUNCTION = re.compile(r"^[ \t]*(?:async )?(?:def|class) (\w+)", re.MULTILINE)
C_KEYWORDS = frozenset(
    [
        "if",
        "else",
        "while",
        "for",
        "do",
        "switch",
        "case",
        "default",
        "return",
        "goto",
        "break",
        "continue",
        "sizeof",
        "struct",
        "enum",
        "union",
        "typedef",
        "static",
        "const",
        "volatile",
        "extern",
        "inline",
    ]
)


class Token(NamedTuple):
    text: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        return self.text[0].isalpha() or self.text[0] == "_"

    @property
    def is_number(self) -> bool:
        return self.text[0].isdigit()


class Statement(NamedTuple):
    """From its first token to behind the semicolon, as numbers of tokens."""

    first: int
    end: int
    controlled: bool  # the body, without braces, of an if or a loop


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


class Source:
    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.is_python = path.endswith(".py")
        hidden = _PYTHON_HIDDEN if self.is_python else _C_HIDDEN
        self.code = hidden.sub(_blank, text)
        self.tokens = [Token(m.group(), *m.span()) for m in _TOKEN.finditer(self.code)]
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]
        function = _PYTHON_FUNCTION if self.is_python else _C_FUNCTION
        self._functions = [(m.start(), m.group(1)) for m in function.finditer(self.code)]

    def line_of(self, at: int) -> int:
        return bisect_right(self._lines, at)

    def lines(self, start: int, end: int) -> str:
        """The whole lines in which a piece lies, with the white space made one blank."""
        first = self._lines[self.line_of(start) - 1]
        last = self.text.find("\n", end)
        return " ".join(self.text[first : last if last >= 0 else None].split())

    def function_at(self, at: int) -> str:
        index = bisect_right(self._functions, (at, chr(0x10FFFF))) - 1
        return self._functions[index][1] if index >= 0 else ""

    def close(self, index: int) -> int:
        """The number of the token that closes what the token `index` opens; -1 for none."""
        opening = self.tokens[index].text
        closing = {"(": ")", "[": "]", "{": "}"}[opening]
        depth = 0
        for number in range(index, len(self.tokens)):
            depth += (self.tokens[number].text == opening) - (self.tokens[number].text == closing)
            if depth == 0:
                return number
        return -1

    def statements(self) -> Iterator[Statement]:
        """The simple ones of a C file: a call, an assignment, a step, break and continue."""
        tokens, number, controlled, in_function = self.tokens, 0, False, False
        while number < len(tokens):
            text = tokens[number].text
            if text in ("if", "for", "while", "switch") and tokens[number + 1].text == "(":
                closing = self.close(number + 1)
                if closing < 0:
                    return
                number, controlled = closing + 1, True
                continue
            if text in ("else", "do"):
                number, controlled = number + 1, True
                continue
            if text in ("{", "}", ";", ":"):
                number, controlled = number + 1, False
                continue
            end = self._end_of_statement(number)
            if end is None:
                number += 1
                continue
            in_function = bool(self.function_at(tokens[number].start))
            if in_function and self._is_simple(number, end):
                yield Statement(number, end, controlled)
            number, controlled = end, False

    def _end_of_statement(self, number: int) -> int | None:
        while number < len(self.tokens):
            text = self.tokens[number].text
            if text in ("(", "["):
                number = self.close(number)
                if number < 0:
                    return None
            elif text in ("{", "}"):
                return None
            elif text == ";":
                return number + 1
            number += 1
        return None

    def _is_simple(self, first: int, end: int) -> bool:
        words = [token.text for token in self.tokens[first:end]]
        if words[0] in ("break", "continue"):
            return True
        if words[0] in C_KEYWORDS or words[0] == "(":
            return False
        if words[0] in ("*", "++", "--"):
            return True
        # `type name = ...` declares: a word, or a star, follows the word.
        return self.tokens[first].is_word and words[1] in (
            "(", "->", ".", "[", "=", "++", "--", "+=", "-=", "|=", "&=", "*=", "^=",
        )  # fmt: skip
