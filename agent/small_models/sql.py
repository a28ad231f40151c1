"""SQL without writing SQL: table, operation, column and filters are chosen one by one and compiled to one SELECT."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel

from plan_execute.agent.llm.structured_output import Dialogue
from plan_execute.agent.small_models.choice import choose
from plan_execute.agent.small_models.prompts import COLUMN, COMPARISON, OPERATION, TABLE, FewShotPrompt
from plan_execute.agent.small_models.words import content_words, mentions, operands, overlap, stem, stems

Schema = Mapping[str, Mapping[str, Any]]
"""`tool.metadata["schema"]`: {table: {"columns": {column: type}, "references": {column: "table.column"}}}."""

LOOKUP = "AS place"
"""Part of every query that looks up stored values, by which it is recognized later."""

_COMPARED = {"more": ">", "less": "<", "at least": ">=", "at most": "<=", "equal": "="}
_AGGREGATES = {"total": "SUM", "average": "AVG"}
_NUMERIC = re.compile(r"INT|NUM|DEC|REAL|FLOA|DOUB|MONEY", re.IGNORECASE)
_TEXT = re.compile(r"CHAR|TEXT|CLOB|STRING|ENUM", re.IGNORECASE)
_DATE = re.compile(r"DATE|TIME", re.IGNORECASE)
_HOW_TO = re.compile(r"\W*how (?:to|(?:do|can|should|could|may) (?:i|we|you|one))\b", re.IGNORECASE)
_NAME = re.compile(r"(?<!^)\b[A-Z]\w+(?: [A-Z]\w+)*")


class Filter(NamedTuple):
    """A condition on a column: an SQL operator and the literal on its right."""

    table: str
    column: str
    operator: str
    literal: str


def unknown_names(text: str, known: Iterable[str], schema: Schema) -> list[str]:
    """Return the names in a text that occur neither in `known` nor in the schema: a query would ignore them."""
    words = {word for value in known for word in stems(value)}
    own = stems(" ".join([*schema, *(column for about in schema.values() for column in about["columns"])]))
    names = {name: stems(" ".join(content_words(name))) - own for name in _NAME.findall(text)}
    return [name for name, parts in names.items() if parts and not parts & words]


def can_query(text: str, schema: Schema) -> bool:
    """Tell whether a text names a table, or a column that is not just a key, and does not ask how to do something."""
    columns = (column for about in schema.values() for column in about["columns"] if not _is_key(column))
    return not _HOW_TO.match(text) and any(mentions(text, name) for name in (*schema, *columns))


def lookup_query(text: str, schema: Schema) -> str | None:
    """Write a query for the stored texts that occur in a text, as rows of place and value.

    Returns:
        The query; None for a schema without text columns.
    """
    literal = _literal(" ".join(text.casefold().split()))
    selects = [
        f"SELECT '{table}.{column}' {LOOKUP}, {_name(column)} AS value FROM {_name(table)} "
        f"WHERE {literal} LIKE '%' || LOWER({_name(column)}) || '%'"
        for table, about in schema.items()
        for column, kind in about["columns"].items()
        if _TEXT.search(kind)
    ]
    return " UNION ".join(selects) or None


def read_lookup(text: str, result: str, schema: Schema) -> dict[str, list[str]]:
    """Read the result of a lookup.

    Args:
        text: What was looked up.
        result: The tool's result.
        schema: The database schema.

    Returns:
        The stored values that are whole words of the text, the longest that fit, each with its places `table.column`.
    """
    found: dict[str, list[str]] = {}
    for row in read_rows(result):
        place, value = row.get("place"), row.get("value")
        if isinstance(place, str) and isinstance(value, str) and place.split(".")[0] in schema:
            found.setdefault(value, []).append(place)
    spans = {
        value: match.span()
        for value in found
        if (match := re.search(rf"(?<!\w){re.escape(value.casefold())}(?:s|es)?(?!\w)", text.casefold()))
    }
    return {
        value: found[value]
        for value, (start, end) in spans.items()
        if not any(s <= start and end <= e and e - s > end - start for s, e in spans.values())
    }


def read_rows(result: str) -> list[dict[str, Any]]:
    """Return the rows in a tool's result: a JSON list at its beginning, whatever comes after it."""
    try:
        rows, _ = json.JSONDecoder().raw_decode(result.strip())
    except ValueError:
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def has_value(result: str) -> bool:
    """Tell whether a tool's result has a value: not if there are no rows, or nothing but nulls in them."""
    return not result.strip().startswith("[") or any(v is not None for row in read_rows(result) for v in row.values())


def form_query(model: BaseChatModel, text: str, schema: Schema, values: Mapping[str, Sequence[str]]) -> Dialogue[str]:
    """Let the model choose table, operation and column.

    Args:
        model: The model that chooses.
        text: What to find out.
        schema: The database schema.
        values: Stored texts that occur in the text, each with its places.
    """
    plain = text
    for value in values:
        plain = re.sub(re.escape(value), "", plain, flags=re.IGNORECASE)
    table = yield from _choose_from(model, TABLE, text, _tables(plain, schema, values))
    filters = _value_filters(table, schema, values, plain)
    filters += yield from _number_filters(model, plain, table, schema)
    operation = yield from choose(model, OPERATION, text, _operations(plain, table, schema, filters))
    if operation == "number":
        return _compile(schema, table, "COUNT(*)", filters)
    if operation == "value" and (target := _referenced(plain, table, schema)):
        return _compile(schema, table, _qualified(*target), filters, also=target[0])
    used = {each.column for each in filters if each.table == table}
    columns = [
        column
        for column in schema[table]["columns"]
        if not _is_key(column) and column not in used and (operation == "value" or _is_measure(table, column, schema))
    ] or list(schema[table]["columns"])
    column = yield from _choose_from(model, COLUMN, plain, _named(columns, plain), table)
    if operation in _AGGREGATES:
        return _compile(schema, table, f"{_AGGREGATES[operation]}({_qualified(table, column)})", filters)
    shown = dict.fromkeys([*_label(table, schema), column])
    query = _compile(schema, table, ", ".join(_qualified(table, each) for each in shown), filters)
    if operation == "value":
        return query
    direction = "DESC" if operation == "highest" else "ASC"
    return f"{query} ORDER BY {_qualified(table, column)} {direction} LIMIT 1"


def _choose_from(
    model: BaseChatModel, prompt: FewShotPrompt, text: str, options: Sequence[str], owner: str = ""
) -> Dialogue[str]:
    """Choose a table or a column, with the options listed behind the text."""
    listed = ", ".join(options)
    question = f"{text.strip()} ({owner}: {listed})" if owner else f"{text.strip()} ({listed})"
    return (yield from choose(model, prompt, question, options))


def _tables(plain: str, schema: Schema, values: Mapping[str, Sequence[str]]) -> list[str]:
    """Tables the question may be about: named ones, else those with a named column or a named value."""
    named = [table for table in schema if mentions(plain, table)]
    places = {(table, column) for found in values.values() for table, _, column in (p.partition(".") for p in found)}
    with_named_rows = {table for table, column in places if column in _row_names(table, schema)}
    if named and not any(_referenced(plain, table, schema) for table in with_named_rows):
        return named
    with_values = {table for table, _ in places}
    scores = {
        table: (table in with_values)
        + sum(2 * mentions(plain, column) for column in about["columns"] if not _is_key(column))
        for table, about in schema.items()
    }
    best = max(scores.values())
    return [table for table, score in scores.items() if score == best]


def _operations(plain: str, table: str, schema: Schema, filters: Sequence[Filter]) -> list[str]:
    """Operations that make sense: of a row that is named a value; totals and the like only with a numeric column."""
    columns = schema[table]["columns"]
    own = [each.column for each in filters if each.table == table and each.operator == "="]
    if set(own) & set(_row_names(table, schema)):
        return ["value"]
    free = set(columns) - {each.column for each in filters}
    wants_value = filters and any(_is_named(column, plain) for column in free if not _is_key(column))
    figures = ["total", "average", "highest", "lowest"] if any(_is_measure(table, c, schema) for c in columns) else []
    return ["number", *figures, *(["value"] if wants_value else [])]


def _value_filters(table: str, schema: Schema, values: Mapping[str, Sequence[str]], plain: str) -> list[Filter]:
    """Each stored value at the place whose table or column the question names, else at the one nearest to the table."""
    filters = []
    for value, places in values.items():
        reachable = []
        for owner, column in (place.split(".", 1) for place in places):
            if (path := _path(schema, table, owner)) is not None:
                named = mentions(plain, owner) or mentions(plain, column)
                reachable.append((not named, len(path), owner, column))
        if reachable:
            _, _, owner, column = min(reachable, key=lambda place: place[:2])
            filters.append(Filter(owner, column, "=", _literal(value)))
    return filters


def _number_filters(model: BaseChatModel, plain: str, table: str, schema: Schema) -> Dialogue[list[Filter]]:
    """Each number in the question as a condition: a year on a date column, else a comparison with a measure."""
    filters = []
    columns = schema[table]["columns"]
    dates = [column for column, kind in columns.items() if _DATE.search(kind)]
    measures = [column for column in columns if _is_measure(table, column, schema)]
    for number in operands(plain):
        if dates and re.fullmatch(r"(19|20)\d\d", number.digits):
            column = next((date for date in dates if mentions(plain, date)), dates[0])
            year = int(number.digits)
            filters.append(Filter(table, column, ">=", f"'{year}-01-01'"))
            filters.append(Filter(table, column, "<", f"'{year + 1}-01-01'"))
        elif measures and re.search(r"\d", plain[number.start : number.end]):
            around = f"{plain[: number.start]}N{plain[number.end :]}"
            column = yield from _choose_from(model, COLUMN, around, _named(measures, plain), table)
            comparison = yield from choose(model, COMPARISON, around, list(_COMPARED))
            filters.append(Filter(table, column, _COMPARED[comparison], number.digits))
    return filters


def _referenced(text: str, table: str, schema: Schema) -> tuple[str, str] | None:
    """The label of another table that the question names and this one refers to, such as a product's supplier."""
    for target in schema[table]["references"].values():
        other = target.split(".")[0]
        if other != table and mentions(text, other) and (label := _label(other, schema)):
            return other, label[0]
    return None


def _compile(schema: Schema, table: str, selected: str, filters: Sequence[Filter], *, also: str | None = None) -> str:
    others = [each.table for each in filters] + ([also] if also else [])
    joins = dict.fromkeys(join for other in others for join in _path(schema, table, other) or ())
    conditions = [f"{_qualified(f.table, f.column)} {f.operator} {f.literal}" for f in filters]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {selected} FROM {_name(table)}{''.join(joins)}{where}"


def _path(schema: Schema, start: str, end: str) -> list[str] | None:
    """The fewest joins that lead from one table to another along references in either direction."""
    paths: dict[str, list[str]] = {start: []}
    queue = [start]
    for here in queue:
        for owner, about in schema.items():
            for column, target in about["references"].items():
                other, key = target.split(".", 1)
                there = other if owner == here else owner
                if here in {owner, other} and there not in paths:
                    join = f" JOIN {_name(there)} ON {_qualified(owner, column)} = {_qualified(other, key)}"
                    paths[there] = [*paths[here], join]
                    queue.append(there)
    return paths.get(end)


def _label(table: str, schema: Schema) -> list[str]:
    """The column to show for a row: `name` or `title`, else the first text."""
    texts = [column for column, kind in schema[table]["columns"].items() if _TEXT.search(kind)]
    return (_row_names(table, schema) or texts)[:1]


def _row_names(table: str, schema: Schema) -> list[str]:
    """The columns that name a row: `name` or, failing that, `title`."""
    columns = schema[table]["columns"]
    return [each for each in columns if stem(each) == "name"] or [each for each in columns if stem(each) == "title"]


def _named(columns: Sequence[str], text: str) -> Sequence[str]:
    """The columns that a text names; all if it names none."""
    return [column for column in columns if _is_named(column, text)] or columns


def _is_named(column: str, text: str) -> bool:
    return overlap(content_words(column.replace("_", " ")), text) > 0


def _is_measure(table: str, column: str, schema: Schema) -> bool:
    return bool(_NUMERIC.search(schema[table]["columns"][column])) and not _is_key(column)


def _is_key(column: str) -> bool:
    return "id" in stems(column)


def _qualified(table: str, column: str) -> str:
    return f"{_name(table)}.{_name(column)}"


def _name(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
