"""The kinds of faults, each by a pattern on the text: what is planted follows the source as it is.

Not among them: a weaker memory order.  On one kind of machine most of them change nothing at all,
and on none could a test be sure to show it; they are argued in the comments and searched for in
models (tests/core/model_*.py).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from mutants.text import C_KEYWORDS, Source, Statement, Token

# What is never left to the sample: without it waiters sleep on.
ALWAYS = frozenset({"wake", "label"})


class Edit(NamedTuple):
    kind: str
    start: int
    end: int
    new: str


class Mutant(NamedTuple):
    """A fault: `id` stays the same as long as its line and its function do."""

    id: str
    path: str
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]

    def __str__(self) -> str:
        return (
            f"[{self.id}] {self.path}:{self.line} {self.kind}\n  - {self.before}\n  + {self.after}"
        )


COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
EXCHANGES = {
    "+": "-", "-": "+", "|": "&", "&": "|", "<<": ">>", ">>": "<<", "+=": "-=", "-=": "+=",
    "++": "--", "--": "++",
}  # fmt: skip
LARGE = 64
LABELS = ("label", "which_of", "of_group")
LOGIC = {"&&": "||", "||": "&&"}
WORDS = {
    "ALTSEM_WORD": "ALTSEM_WORD2", "ALTSEM_WORD2": "ALTSEM_WORD",
    "word": "word2", "word2": "word",
}  # fmt: skip
_C_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)$")
_ERRNO = re.compile(r"E[A-Z0-9]{2,}$")
_WAKES = re.compile(r"(^|_)wake$")
# What a backend's own wake() calls: whoever is to be woken is not, if it is left out.
_WAKES_INSIDE = re.compile(r"^(futex|put|semop|.*post.*)$")


def mutants(path: str, text: str) -> list[Mutant]:
    """All faults for a file, in the order of its text."""
    source = Source(path, text)
    edits = sorted(set(_python(source) if source.is_python else _c(source)), key=lambda e: e[1:])
    found, seen = [], Counter[str]()
    for edit in edits:
        before = source.lines(edit.start, edit.end)
        whole = source.text[: edit.start] + edit.new + source.text[edit.end :]
        after = Source(path, whole).lines(edit.start, edit.start + len(edit.new))
        if before == after:
            continue
        key = "|".join((path, edit.kind, source.function_at(edit.start), before, after))
        seen[key] += 1
        name = hashlib.sha256(f"{key}|{seen[key]}".encode()).hexdigest()[:8]
        line = source.line_of(edit.start)
        found.append(Mutant(name, path, line, edit.kind, before, after, *edit[1:]))
    return found


# --- C --------------------------------------------------------------------------------------------


def _c(source: Source) -> Iterator[Edit]:
    statements = list(source.statements())
    yield from _left_out(source, statements)
    yield from _turned_round(source, statements)
    yield from _conditions(source)
    yield from _wakes(source)
    yield from _tokens(source)


def _is_wake(source: Source, statement: Statement) -> bool:
    return any(
        _WAKES.search(token.text) and source.tokens[number + 1].text == "("
        for number, token in enumerate(
            source.tokens[statement.first : statement.end], statement.first
        )
        if token.is_word
    )


def _left_out(source: Source, statements: list[Statement]) -> Iterator[Edit]:
    for statement in statements:
        start, end = source.tokens[statement.first].start, source.tokens[statement.end - 1].end
        kind = "wake" if _is_wake(source, statement) else "statement"
        yield Edit(kind, start, end, ";" if statement.controlled else "{}")


def _turned_round(source: Source, statements: list[Statement]) -> Iterator[Edit]:
    """Two that follow each other, at least one of which is a call, the other way round."""
    for one, two in pairwise(statements):
        if one.end != two.first or one.controlled:
            continue
        texts = [
            source.text[source.tokens[each.first].start : source.tokens[each.end - 1].end]
            for each in (one, two)
        ]
        if not any(re.match(r"\w+\(", text) for text in texts):
            continue
        start, middle = source.tokens[one.first].start, source.tokens[one.end - 1].end
        between = source.text[middle : source.tokens[two.first].start]
        if "#" in between or texts[1] in ("continue;", "break;"):
            continue
        end = source.tokens[two.end - 1].end
        yield Edit("order", start, end, texts[1] + between + texts[0])


def _conditions(source: Source) -> Iterator[Edit]:
    for number, token in enumerate(source.tokens):
        if token.text == "if" and source.tokens[number + 1].text == "(":
            closing = source.close(number + 1)
            start, end = source.tokens[number + 1].start, source.tokens[closing].end
            body = [each.text for each in source.tokens[closing + 1 : closing + 40]]
            body = body[: body.index(";")] if ";" in body else body
            kind = "wake" if any(map(_WAKES.search, body)) else "condition"
            yield Edit(kind, start, end, f"(!{source.text[start:end]})")


def _wakes(source: Source) -> Iterator[Edit]:
    """A wake for fewer, and the call inside a backend's wake() left out."""
    for number, token in enumerate(source.tokens[:-1]):
        if not token.is_word or source.tokens[number + 1].text != "(":
            continue
        closing = source.close(number + 1)
        if closing < 0 or source.tokens[closing + 1].text == "{":
            continue  # its definition
        if _WAKES.search(token.text) and source.tokens[closing + 1].text == ";":
            comma = max(n for n in range(number, closing) if source.tokens[n].text in (",", "("))
            start, end = source.tokens[comma + 1].start, source.tokens[closing - 1].end
            last = source.text[start:end]
            yield Edit("wake", start, end, {"UINT32_MAX": "1", "1": "0"}.get(last, f"{last} - 1"))
        if _WAKES_INSIDE.match(token.text) and _WAKES.search(source.function_at(token.start)):
            yield Edit("wake", token.start, source.tokens[closing].end, "0")


def _tokens(source: Source) -> Iterator[Edit]:
    for number, token in enumerate(source.tokens):
        text, start, end = token.text, token.start, token.end
        before = source.tokens[number - 1] if number else None
        after = source.tokens[number + 1] if number + 1 < len(source.tokens) else None
        if before is None or after is None or before.text == "define":
            continue
        binary = (
            before.is_word and before.text not in C_KEYWORDS
        ) or before.is_number or before.text in (")", "]")  # fmt: skip
        if text in COMPARISONS:
            yield Edit("comparison", start, end, COMPARISONS[text])
        elif text in LOGIC:
            yield Edit("logic", start, end, LOGIC[text])
        elif text == "!":
            yield Edit("not", start, end, "")
        elif text in EXCHANGES and (binary or text in ("++", "--")):
            yield Edit("arithmetic", start, end, EXCHANGES[text])
            if text == "&" and after.text == "~":
                yield from _mask(source, number)
        elif _is_hint(source, number):
            continue
        elif token.is_number and (match := _C_NUMBER.match(text)):
            octal = match[1].startswith("0") and match[1].isdigit()
            value, suffix = int(match[1], 8 if octal else 0), match[2]
            kind = "label" if _inside_label(source, number) else "number"
            for other in _other_values(match[1], value):
                yield Edit(kind, start, end, f"{other}{suffix}")
        elif text in WORDS and (text.isupper() or before.text == "->"):
            yield Edit("word", start, end, WORDS[text])
        elif text == "ALTSEM_WAITER":
            yield Edit("waiter", start, end, "UINT64_C(0)")
        elif text == "altsem_announce" and after.text == "(":
            yield Edit("waiter", start, end, "altsem_load")
        elif _ERRNO.match(text) and before.text == "-" and _in_return(source, number):
            yield Edit("error", before.start, end, "0")


def _other_values(text: str, value: int) -> tuple[int, ...]:
    """One more and one less: a bound that is off by one, another bit, another field.

    A large amount (a time in nanoseconds, a size, how many times something is tried) is doubled and
    halved instead.  A nanosecond more is no fault: it changes nothing that is promised, and would
    only have to be explained.  A wrong factor is one, which a test can be asked to notice.  What is
    written in octal or hexadecimal consists of bits, and one below a power of two is the greatest
    that fits: there one more or less is what goes wrong.
    """
    if value > LARGE and not text.startswith("0") and value & (value + 1):
        return 2 * value, value // 2
    return (value + 1, value - 1) if value else (1,)


def _mask(source: Source, number: int) -> Iterator[Edit]:
    """`x & ~y` without the mask: what should go stays."""
    end = number + 2
    while source.tokens[end].text == "(":  # a cast, or the whole of y
        end = source.close(end) + 1
        if not (source.tokens[end].is_word or source.tokens[end].text == "("):
            end -= 1
            break
    if source.tokens[end].is_word and source.tokens[end + 1].text == "(":
        end = source.close(end + 1)
    yield Edit("mask", source.tokens[number].start, source.tokens[end].end, "")


def _inside_label(source: Source, number: int) -> bool:
    """Whether it is in the arguments of label(...) and the like: which group a word is for."""
    depth = 0
    for earlier in range(number - 1, max(0, number - 20), -1):
        text = source.tokens[earlier].text
        depth += (text == ")") - (text == "(")
        if text in (";", "{", "}"):
            return False
        if depth < 0 and source.tokens[earlier - 1].text in LABELS:
            return True
    return False


def _is_hint(source: Source, number: int) -> bool:
    """Whether it is what __builtin_expect is told to expect, which changes no result."""
    if source.tokens[number - 1].text != "," or source.tokens[number + 1].text != ")":
        return False
    depth = 1
    for earlier in range(number - 1, 0, -1):
        text = source.tokens[earlier].text
        depth += (text == ")") - (text == "(")
        if depth == 0:
            return source.tokens[earlier - 1].text == "__builtin_expect"
    return False


def _in_return(source: Source, number: int) -> bool:
    while number >= 0 and source.tokens[number].text not in (";", "{", "}"):
        if source.tokens[number].text == "return":
            return True
        number -= 1
    return False


# --- Python ---------------------------------------------------------------------------------------

_PYTHON_EXCHANGES: dict[str, str] = {
    "and": "or", "or": "and", "True": "False", "False": "True", "break": "continue",
    "continue": "break",
}  # fmt: skip


def _python(source: Source) -> Iterator[Edit]:
    tokens = [*source.tokens, Token("", 0, 0)]
    for number, token in enumerate(source.tokens):
        text, start, end = token.text, token.start, token.end
        before, after = tokens[number - 1], tokens[number + 1]
        if text in ("==", "!=", "<", "<=", ">", ">="):
            yield Edit("comparison", start, end, COMPARISONS[text])
        elif text in _PYTHON_EXCHANGES:
            yield Edit("logic", start, end, _PYTHON_EXCHANGES[text])
        elif text == "not" and after.text != "in" and before.text != "is":
            yield Edit("not", start, after.start, "")
        elif text == "is" and after.text == "not":
            yield Edit("comparison", start, after.end, "is")
        elif text == "is":
            yield Edit("comparison", start, end, "is not")
        elif text == "in" and before.text == "not":
            yield Edit("comparison", before.start, end, "in")
        elif token.is_number and text.isdigit():
            yield Edit("number", start, end, str(int(text) + 1))
        elif text in ("if", "while") and _starts_line(source, start):
            yield from _python_condition(source, number)
    yield from _python_statements(source)


def _starts_line(source: Source, at: int) -> bool:
    return not source.code[source.code.rfind("\n", 0, at) + 1 : at].strip()


def _python_condition(source: Source, number: int) -> Iterator[Edit]:
    depth = 0
    for token in source.tokens[number + 1 :]:
        depth += (token.text in "([{") - (token.text in ")]}")
        if token.text == ":" and depth == 0:
            start = source.tokens[number + 1].start
            condition = source.text[start : token.start]
            if condition.strip() != "TYPE_CHECKING":
                yield Edit("condition", start, token.start, f"not ({condition})")
            return


_PYTHON_SIMPLE = re.compile(
    r"^([ \t]+)(?!def |class |return\b|import |from |raise\b|if |for |while |with |try|else|elif "
    r"|except|finally|global |pass\b|yield\b|assert |async |@|break\b|continue\b|del )"
    r"[\w.\[\]\"' ]+(\([^\n]*\)|\s=\s[^\n]+)[ \t]*$",
    re.MULTILINE,
)
_PYTHON_RETURN = re.compile(r"^[ \t]+return[ \t]+(?!None\b)([^\n]*[^\s([{,])[ \t]*$", re.MULTILINE)


def _python_statements(source: Source) -> Iterator[Edit]:
    """Calls and assignments of one line left out, and results that are None."""
    for match in _PYTHON_SIMPLE.finditer(source.code):
        text = match.group()
        if text.count("(") == text.count(")") and source.function_at(match.start()):
            yield Edit("statement", match.end(1), match.end(), "pass")
    for match in _PYTHON_RETURN.finditer(source.code):
        text = match.group(1)
        if text.count("(") == text.count(")") and text.count("[") == text.count("]"):
            yield Edit("result", *match.span(1), "None")
