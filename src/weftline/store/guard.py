"""User SQL: exactly one SELECT over plain table names, and nothing that reaches beyond the tables.

The text is parsed with sqlglot's DuckDB dialect. What the parser does not understand is refused, not passed on; every
function is looked up in DuckDB's own list less the ones that read files, settings, other sessions or the store itself.
The instance behind it is locked as well (duck.py) and reads in a read-only transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from weftline.errors import RefusedError
from weftline.store.safe_functions import SAFE_FUNCTIONS, SAFE_TABLE_FUNCTIONS

__all__ = ["GuardError", "Guarded", "guard"]

MAX_CHARACTERS = 100_000
MAX_NODES = 20_000

_FORBIDDEN = (
    exp.DDL,
    exp.DML,
    exp.Command,
    exp.Into,
    exp.Lock,
    exp.Parameter,
    exp.SessionParameter,
    exp.Attach,
    exp.Detach,
    exp.Pragma,
    exp.Set,
    exp.Use,
    exp.Copy,
    exp.Drop,
    exp.Alter,
    exp.Describe,
    exp.Summarize,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    exp.Kill,
    exp.Analyze,
    exp.Show,
)

_ALLOWED_DDL = (exp.Select, exp.SetOperation, exp.Subquery, exp.Table, exp.Values)

_SYSTEM_PREFIXES = ("duckdb_", "pg_", "pragma_", "sqlite_", "information_schema")


class GuardError(RefusedError):
    """Refuse SQL that is not one plain SELECT over datasets, with the place in the text."""

    code = "sql-refused"


@dataclass(frozen=True, slots=True)
class Guarded:
    """Hold a SELECT that passed: its tree, and the tables it reads as written (names of WITH left out)."""

    tree: exp.Expression
    tables: tuple[str, ...]

    def sql(self) -> str:
        """Return the SELECT in DuckDB's dialect with every identifier quoted; run this, never the text."""
        return str(self.tree.sql(dialect="duckdb", identify=True, comments=False))


def guard(text: str) -> Guarded:
    """Admit exactly one SELECT and say which tables it reads. Raises GuardError with line and column."""
    if len(text) > MAX_CHARACTERS:
        raise _refuse(f"{len(text)} characters", f"at most {MAX_CHARACTERS}")
    tree = _parse(text)
    tables: dict[str, None] = {}
    for count, node in enumerate(tree.walk()):
        if count > MAX_NODES:
            raise _refuse("a query of too many parts", f"at most {MAX_NODES}")
        _admit(node)
        if isinstance(node, exp.Table):
            name = _table(node)
            if name and not _is_local(node, name.casefold()):
                tables[name] = None
    return Guarded(tree, tuple(tables))


def _parse(text: str) -> exp.Expression:
    dialect = DuckDB()
    try:
        tokens = dialect.tokenize(text)
        _no_parameters(tokens)
        found = [tree for tree in dialect.parser().parse(tokens, text) if tree is not None]
    except (SqlglotError, RecursionError, ValueError) as error:
        detail = getattr(error, "errors", None)
        first = detail[0] if detail else {}
        raise _refuse(
            str(first.get("description") or "text that is not SQL").splitlines()[0],
            "one SELECT that can be read",
            line=int(first.get("line") or 0),
            column=int(first.get("col") or 0),
        ) from error
    if len(found) != 1:
        raise _refuse(f"{len(found)} statements", "exactly one SELECT")
    tree = found[0]
    while isinstance(tree, exp.Paren):
        tree = tree.this
    if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery | exp.Values):
        raise _refuse(f"a statement {tree.key.upper()}", "one SELECT")
    return tree


def _no_parameters(tokens: list[Token]) -> None:
    for token in tokens:
        if token.token_type in {TokenType.PARAMETER, TokenType.PLACEHOLDER}:
            raise _refuse("a parameter", "a query with its values in it", line=token.line, column=token.col)


def _admit(node: exp.Expression) -> None:
    if isinstance(node, _FORBIDDEN) and not isinstance(node, _ALLOWED_DDL):
        raise _refuse_node(node, f"{node.key.upper()}", "nothing but a SELECT")
    if isinstance(node, exp.Placeholder | exp.Introducer):
        raise _refuse_node(node, "a parameter", "a query with its values in it")
    if isinstance(node, exp.Column) and (node.args.get("catalog") or node.args.get("db")):
        raise _refuse_node(node, f"the qualified column {node.sql(dialect='duckdb')}", "table.column")
    if isinstance(node, exp.Select) and not node.expressions:
        raise _refuse_node(node, "a SELECT of nothing", "at least one column")
    if isinstance(node, exp.Func):
        _function(node)


def _function(node: exp.Func) -> None:
    if isinstance(node.parent, exp.Dot) and node.parent.expression is node:
        raise _refuse_node(node, "a function called through a dot or a schema", "a plain function")
    for name in _names(node):
        if name not in SAFE_FUNCTIONS and name not in SAFE_TABLE_FUNCTIONS:
            raise _refuse_node(node, f"the function {name}", "a function over values; see the list in the manual")


def _names(node: exp.Func) -> Iterator[str]:
    """Give the name DuckDB will be asked for; nodes the parser gave a class of their own are written out first."""
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        yield str(node.this.name if isinstance(node.this, exp.Expression) else node.this).casefold()
        return
    if isinstance(node, exp.Cast | exp.Case | exp.And | exp.Or | exp.Xor | exp.If | exp.Connector):
        return
    written = node.sql(dialect="duckdb")
    head = written.partition("(")[0]
    if head and "(" in written and head.replace("_", "a").isalnum():
        yield head.casefold()


def _table(node: exp.Table) -> str:
    if node.args.get("db") or node.args.get("catalog"):
        raise _refuse_node(node, f"the qualified table {node.sql(dialect='duckdb')}", "a plain dataset name")
    inner = node.this
    if isinstance(inner, exp.Func):
        for name in _names(inner):
            if name not in SAFE_TABLE_FUNCTIONS:
                raise _refuse_node(node, f"the table function {name}", "a dataset; only range and unnest make rows")
        return ""
    if not isinstance(inner, exp.Identifier):
        raise _refuse_node(node, f"{node.sql(dialect='duckdb')} as a table", "a plain dataset name")
    name = str(inner.this)
    lowered = name.casefold()
    if lowered.startswith(_SYSTEM_PREFIXES) or lowered in {"sqlite_master", "weftline"}:
        raise _refuse_node(node, f"the system table {name}", "a dataset")
    if lowered in {"show", "describe", "summarize"} and not inner.quoted:
        raise _refuse_node(node, f"{name.upper()} in FROM", "a dataset")
    if any(mark in name for mark in "/\\:*?"):
        raise _refuse_node(node, f"the path {name!r} as a table", "a dataset")
    return name


def _is_local(node: exp.Table, name: str) -> bool:
    """Say whether a name means a WITH in scope; where DuckDB could read it either way, it counts as a table."""
    child: exp.Expression = node
    parent = node.parent
    while parent is not None:
        if isinstance(parent, exp.With):
            before = parent.expressions[: parent.expressions.index(child)]
            if any(cte.alias_or_name.casefold() == name for cte in before):
                return True
            if parent.args.get("recursive") and child.alias_or_name.casefold() == name:
                return _in_recursive_part(node, child)
        else:
            with_ = parent.args.get("with_")
            ctes = with_.expressions if with_ is not None and with_ is not child else ()
            if any(cte.alias_or_name.casefold() == name for cte in ctes):
                return True
        child, parent = parent, parent.parent
    return False


def _in_recursive_part(node: exp.Expression, cte: exp.Expression) -> bool:
    body = cte.this
    if not isinstance(body, exp.Union):
        return False
    right = body.expression
    return any(part is node for part in right.walk())


def _refuse(found: str, expected: str, *, line: int = 0, column: int = 0) -> GuardError:
    return GuardError(
        place="the query",
        found=found,
        expected=expected,
        next_step="Datasets are read with one SELECT; nothing else is admitted.",
        line=line,
        column=column,
    )


def _refuse_node(node: exp.Expression, found: str, expected: str) -> GuardError:
    for part in node.walk():
        if "line" in part.meta:
            return _refuse(found, expected, line=int(part.meta["line"]), column=int(part.meta["col"]))
    return _refuse(found, expected)
