"""The reference of Weftline SQL as a page, written from the tables the compiler uses."""

from __future__ import annotations

from weftline.contracts.dialect import OPERATORS
from weftline.contracts.dialect_functions import FUNCTIONS, Function, Kind
from weftline.contracts.time_formats import LETTERS

__all__ = ["reference"]

INTRODUCTION = """# Weftline SQL

Weftline SQL is the small, named subset of SQL that contracts use: in `transformLogic` (compute a column from source
fields), in the custom property `where` (which rows an object takes) and in `sql` rules. It is parsed, typed and written anew
for the engine; nothing else reaches it. What is not on this page is refused by `weftline check`, with its place and the
nearest known name. This page is generated from the tables of the compiler (`tools/write_sql_reference.py`).

## Names

A source field stands under its own name, quoted where it is no plain word: `"Temp (°C)"`. A field the batch does not have
is null. `feed.<name>` is a parameter of the feed. `received_time` is when Weftline received the record. In `sql` rules the
names are the columns of the object first, then the fields its columns read. Nested JSON is read with `json_text`.

## Types

`text`, `boolean`, `integer` (64 bits), `number` (double), `decimal(p,s)` (exact, up to 38 digits), `date`, `time`,
`timestamp` (UTC, microseconds). `CAST(x AS type)` accepts the usual SQL names of these.

- **Total.** No data makes an expression raise. Division by zero, overflow, infinity and NaN give null.
- **Failed conversions.** `CAST`, and text met by arithmetic or by a function that needs another type, fail the rule `type` of
  their column when the text is not of the type, on the branch of a `CASE` that is taken. `TRY_CAST` and comparisons give null
  instead. Blank text is absent (null), not wrong.
- **Text to number.** Optional sign, digits with an optional point on either side of them, optional exponent: `7`, `-1.5`,
  `.5`, `5.`, `1e3`. White space around is allowed. Never: thousands separators, a decimal comma, hexadecimal, underscores,
  `inf`, `NaN`.
- **Text to integer.** Digits with an optional sign; a fraction of zeros is allowed (`7.0`), an exponent and any other fraction
  are not (`1e3`, `1.7`). A number becomes an integer only if it is whole. Nothing is rounded.
- **To decimal(p,s).** Exact: a digit that does not fit is a failure. No exponents in text. Round first where that is wanted.
- **Text to boolean.** `true`, `false`, `1`, `0`, `yes`, `no`, `on`, `off` in any case. The numbers 1 and 0 as well.
- **Text to date, time.** `YYYY-MM-DD`; `HH:MM`, `HH:MM:SS` with up to 9 digits of a second.
- **Text to timestamp.** ISO 8601 with date and time: `2024-01-02T03:04:05.123456+01:00`; `T` or one space; seconds may be
  missing; `Z`, `±HH`, `±HHMM`, `±HH:MM` (up to 14:59) or no offset, which means `defaultTimezone`, else UTC. Digits after the
  microsecond are cut off. A date alone, `24:00` and second 60 are refused. Years 1 to 9999.
- **Comparing.** Numbers compare as numbers, and so does text beside a number (what is no number gives null). Beside a text
  literal values compare as text, dates and times excepted. Arithmetic of integers stays integer except for `/`; text counts
  as a number. In a local hour that a change of clocks skips, a time is read with the offset before the change; in one that
  occurs twice it is the later.
- **Patterns** are literals of the subset that RE2 and ECMA-262 share; they are searched for, so anchor with `^` and `$` where the
  whole text is meant. `\\d`, `\\w` and `\\s` are ASCII. Look-around and back-references are refused.
"""


def reference() -> str:
    """Return the page, in Markdown."""
    operators = ", ".join(f"`{one}`" for one in OPERATORS)
    letters = ", ".join(f"`{one}`" for one in LETTERS)
    parts = [
        INTRODUCTION,
        f"## Formats of dates and times\n\nLetters as in ODCS (JDK `DateTimeFormatter`): {letters}; other text in 'quotes'.\n",
        f"## Operators\n\n{operators}\n",
        f"## Functions ({len(FUNCTIONS)})\n\nA null argument gives null unless the text says otherwise.\n",
        "| Function | Gives | Meaning | Example |\n|---|---|---|---|",
        *(_line(function) for function in sorted(FUNCTIONS.values(), key=lambda one: one.name)),
    ]
    return "\n".join(parts) + "\n"


def _line(function: Function) -> str:
    required = len(function.args) - function.optional
    shown = [str(one) if place < required else f"[{one}]" for place, one in enumerate(function.args)]
    signature = f"{function.name}({', '.join(shown)}{', …' if function.variadic else ''})"
    result = "its type" if function.result is Kind.NULL else str(function.result)
    cells = (f"`{signature}`", result, function.summary, f"`{function.example}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
