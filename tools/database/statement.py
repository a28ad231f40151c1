"""What a query may say: one SELECT, of known relations, with functions that only compute."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from langchain_core.tools import ToolException

from plan_execute.tools.database.functions import FUNCTIONS, SIZED, SYNTAX

MAX_SQL = 4_000
"""Longest query accepted, in characters."""
MAX_REPEATS = 10_000
"""Most repetitions or characters that a function such as `repeat` or `lpad` is asked for."""

ONE_SELECT = "Only a single SELECT is allowed here, and it can only read. Write what you want to know as one SELECT."

_PARSERS = {"postgresql": "postgres", "mariadb": "mysql", "sqlite": "sqlite", "duckdb": "duckdb"}
"""The dialects of sqlglot."""

_IMPLICIT = """
rowid oid _rowid_ rank key value type atom id parent fullkey path json root start stop step
"""
_IMPLICIT_COLUMNS = frozenset(_IMPLICIT.split())
"""Columns that tables and table functions of SQLite have without declaring them."""

_TABLE_FUNCTIONS = {"json_each", "json_tree"}
"""Functions of SQLite that give tables; sqlglot knows generate_series itself."""

_QUOTES = "'\"`$"


class Query(NamedTuple):
    """A query that may run."""

    sql: str
    """The query as it was read: its tokens without comments, each apart from the next."""
    relations: list[tuple[str | None, str]]
    """The schema, if it is given, and the name of each table and view that it reads."""
    unknown: list[str]
    """Quoted names that are columns of none of them, where SQLite would take them for texts."""


def read_query(sql: str, dialect: str, functions: Collection[str] = ()) -> Query:
    """Read a query, and refuse all that does more than read.

    The database is sent the tokens that were read and not the text, so that it cannot read another query than the one
    checked here.

    Args:
        sql: The query.
        dialect: A key of `sources.DIALECTS`.
        functions: Names of further functions that are allowed.

    Raises:
        ToolException: It is no single SELECT, or calls a function that is not allowed; the message says what to do.
    """
    import sqlglot  # here, because it loads slowly and only queries need it
    from sqlglot import errors, exp

    if len(sql) > MAX_SQL:
        raise ToolException(f"The query is longer than {MAX_SQL} characters. Write a shorter one.")
    parser = sqlglot.Dialect.get_or_raise(_PARSERS[dialect])
    try:
        tokens = parser.tokenize(sql)
        while tokens and sql[tokens[-1].start] == ";":
            tokens.pop()
        _check_tokens(sql, tokens)
        plain = "".join(_apart(sql, tokens))
        statements = parser.parse(plain)
    except (errors.SqlglotError, RecursionError) as error:
        where = error.errors[0] if isinstance(error, errors.ParseError) and error.errors else {}
        detail = f" near {where['highlight']!r}" if where.get("highlight") else ""
        raise ToolException(f"The SQL has a syntax error{detail}. Write one plain SELECT statement.") from None
    query = statements[0] if len(statements) == 1 else None
    refused = (exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command, exp.Parameter, exp.SessionParameter, exp.Placeholder)
    if not isinstance(query, exp.Query) or query.find(*refused):
        raise ToolException(ONE_SELECT)
    aliases = Counter(alias.name.casefold() for alias in query.find_all(exp.TableAlias) if alias.columns)
    if dialect != "sqlite":  # whose authorizer sees each function
        _check_functions(_calls(plain, parser.tokenize(plain)) - aliases, FUNCTIONS.union(functions), query)
    _check_copies(query)
    return Query(plain, [*_relations(query, dialect)], [*_quoted_columns(query)] if dialect == "sqlite" else [])


def _apart(sql: str, tokens: list[Any]) -> Iterator[str]:
    """Write the tokens without comments, and none so close before a quote that it could be its prefix."""
    end = None
    for token in tokens:
        if end is not None:
            gap = sql[end : token.start]
            joined = not gap and (sql[token.start] not in _QUOTES or sql[end - 1] in "(,.[=<>+-*/|")
            yield "" if joined else "\n" if "\n" in gap else " "
        end = token.end + 1
        yield sql[token.start : end]


def _check_tokens(sql: str, tokens: list[Any]) -> None:
    """Refuse what is not one SELECT, and what servers read otherwise than the parser."""
    words = [sql[token.start : token.end + 1].casefold() for token in tokens]
    if ";" in words or "into" in words or next((word for word in words if word != "("), "") not in ("select", "with"):
        raise ToolException(ONE_SELECT)
    starts = [token.start for token in tokens] + [len(sql)]
    gaps = [sql[end:start] for end, start in zip([0, *(token.end + 1 for token in tokens)], starts, strict=True)]
    if "/*+" in words or any(re.search(r"/\*(M?!|\+)", gap) for gap in gaps):
        raise ToolException(ONE_SELECT + " Leave out comments that are instructions.")  # they run, or change the plan
    ends = [token.end + 1 for token in tokens]
    if any(
        first == "u" and sign == "&" and name[0] == '"' and end == token.start
        for first, sign, name, end, token in zip(words, words[1:], words[2:], ends[1:], tokens[2:], strict=False)
    ):
        raise ToolException('Names written as U&"..." are not allowed here. Write the name itself in quotes.')


def _calls(sql: str, tokens: list[Any]) -> Counter[str]:
    """Count what stands before a parenthesis as a function does; a name with a schema is given with it."""
    words = [sql[token.start : token.end + 1] for token in tokens]
    found: Counter[str] = Counter()
    for at, word in enumerate(words[:-1]):
        if words[at + 1] == "(" and re.match(r'[\w"`]', word):
            name = word.split()[-1].strip('"`').casefold()
            qualified = at and words[at - 1] == "." and words[at - 2].casefold() != "pg_catalog"
            found[f"{words[at - 2]}.{name}" if qualified else name] += 1
    return found


def _check_functions(called: Counter[str], allowed: Collection[str], query: Any) -> None:
    """Refuse functions that are not allowed, and results whose length only the data tell."""
    from sqlglot import exp

    for name in called:
        if name not in allowed and name not in SYNTAX:
            raise ToolException(f"The function {name[:60]!r} is not allowed here. Write a SELECT without it.")
    sizes = [call.args.get("times") or call.args.get("expression") for call in query.find_all(exp.Repeat, exp.Pad)]
    sizes += [call.this for call in query.find_all(exp.Space)]
    sized = sum(isinstance(n, exp.Literal) and n.name.isdecimal() and int(n.name) <= MAX_REPEATS for n in sizes)
    if sum(called[name] for name in SIZED) > sized:
        raise ToolException(f"{', '.join(sorted(SIZED))} need a length of at most {MAX_REPEATS}, written as a number.")


def _relations(query: Any, dialect: str) -> Iterator[tuple[str | None, str]]:
    """The tables and views of a query, without those that a WITH in reach of it makes."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    made = set()
    for scope in traverse_scope(query):
        names = {name.casefold() for name in scope.cte_sources}
        made |= {id(table) for table in scope.tables if not table.db and table.name.casefold() in names}
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and id(table) not in made:
            yield table.db or None, table.name
        elif dialect == "sqlite" and isinstance(table.this, exp.Anonymous) and table.this.name not in _TABLE_FUNCTIONS:
            yield None, table.this.name  # a full-text table takes what is searched for like a function


def _check_copies(query: Any) -> None:
    """Refuse WITH tables that multiply: SQLite copies them at each mention, before any time limit applies."""
    from sqlglot import exp

    mentioned = Counter(table.name.casefold() for table in query.find_all(exp.Table))
    if math.prod(max(1, mentioned[cte.alias.casefold()]) for cte in query.find_all(exp.CTE)) > 1_000:
        raise ToolException("The query nests too many WITH tables. Write it with fewer of them.")


def _quoted_columns(query: Any) -> Iterator[str]:
    """The columns that stand alone, in quotes, and are no names that the query itself gives."""
    from sqlglot import exp

    given = {alias.alias_or_name.casefold() for alias in query.find_all(exp.Alias, exp.TableAlias, exp.CTE, exp.Table)}
    given |= {name.casefold() for alias in query.find_all(exp.TableAlias) for name in map(_name, alias.columns)}
    for column in query.find_all(exp.Column):
        quoted = isinstance(column.this, exp.Identifier) and column.this.quoted and not column.table
        if quoted and column.name.casefold() not in given | _IMPLICIT_COLUMNS:
            yield column.name


def _name(node: Any) -> str:
    return str(node.name)
