"""A structured query instead of SQL: operation, column and filters as choices, compiled to one SELECT."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel

from plan_execute.agent.llm.structured_output import Dialogue
from plan_execute.agent.small_models.choice import Form, choose
from plan_execute.agent.small_models.words import content_words, mentions, operands, overlap, stem, stems

Schema = Mapping[str, Mapping[str, Any]]
"""`tool.metadata["schema"]`: {table: {"columns": {column: type}, "references": {column: "table.column"}}}."""

LOOKUP = "AS place"
"""Part of every query that looks up stored values, by which such a query is known again."""

OPERATION = Form(
    "Say what is asked for: the number of rows, a total, an average, the highest, the lowest, or just a value.",
    examples=(
        ("How many pilots are there?", "number"),
        ("What is the total length of all routes?", "total"),
        ("What is the mean age of the nurses?", "average"),
        ("Which ship is the longest?", "highest"),
        ("What is the smallest engine?", "lowest"),
        ("What is the phone number of Ann Lee?", "value"),
        ("Count the ships made of steel", "number"),
        ("When was the Aurora built?", "value"),
        ("Add up the cargo of all ships", "total"),
        ("the oldest nurse", "highest"),
        ("average speed of ships built in 1998", "average"),
        ("How many routes start in Rome?", "number"),
        ("Which route has the fewest stops?", "lowest"),
        ("Which ward does Tom Hart work in?", "value"),
        ("How many nurses are from Leeds?", "number"),
        ("How much cargo do the ships carry together?", "total"),
        ("What is the lowest wage?", "lowest"),
        ("What is the highest age?", "highest"),
    ),
)
COLUMN = Form(
    "Say which column the question is about.",
    answer="Column",
    examples=(
        ("Which ship is the longest? (ship: length, speed, cargo)", "length"),
        ("Who is the oldest nurse? (nurse: wage, age)", "age"),
        ("Where does Ann Lee live? (pilot: name, phone, home)", "home"),
        ("What does the Aurora cost? (boat: length, cost)", "cost"),
        ("Which engine is the strongest? (engine: power, year)", "power"),
    ),
)
TABLE = Form(
    "Say which table the question is about.",
    answer="Table",
    examples=(
        ("How many ships sail under captain Holm? (ship, captain)", "ship"),
        ("Which ward has the most beds? (ward, hospital)", "ward"),
        ("the average age of nurses in ward Four (ward, nurse)", "nurse"),
    ),
)
COMPARISON = Form(
    "Say how the number is compared.",
    answer="Comparison",
    examples=(
        ("ships longer than N", "more"),
        ("pilots with at most N flights", "at most"),
        ("engines below N horsepower", "less"),
        ("wards with N beds", "equal"),
        ("routes of at least N miles", "at least"),
        ("ships over N tons", "more"),
        ("nurses under N", "less"),
        ("routes with exactly N stops", "equal"),
    ),
)
_COMPARED = {"more": ">", "less": "<", "at least": ">=", "at most": "<=", "equal": "="}
_AGGREGATES = {"total": "SUM", "average": "AVG"}
_NUMERIC = re.compile(r"INT|NUM|DEC|REAL|FLOA|DOUB|MONEY", re.IGNORECASE)
_TEXT = re.compile(r"CHAR|TEXT|CLOB|STRING|ENUM", re.IGNORECASE)
_DATE = re.compile(r"DATE|TIME", re.IGNORECASE)
_ADVICE = re.compile(r"\W*how (?:to|(?:do|can|should|could|may) (?:i|we|you|one))\b", re.IGNORECASE)
_NAME = re.compile(r"(?<!^)\b[A-Z]\w+(?: [A-Z]\w+)*")


class Filter(NamedTuple):
    """A condition on a column: an operator of SQL, and the literal to its right."""

    table: str
    column: str
    operator: str
    literal: str


def unknown_names(text: str, known: Iterable[str], schema: Schema) -> list[str]:
    """Names in a text that occur in nothing known: an answer that leaves them out would be one to something else."""
    words = {word for value in known for word in stems(value)}
    own = stems(" ".join([*schema, *(column for about in schema.values() for column in about["columns"])]))
    names = {name: stems(" ".join(content_words(name))) - own for name in _NAME.findall(text)}
    return [name for name, parts in names.items() if parts and not parts & words]


def can_query(text: str, schema: Schema) -> bool:
    """Whether a text names anything of a schema, a table or a column that is not just a key, and asks for no advice."""
    columns = (column for about in schema.values() for column in about["columns"] if not _is_key(column))
    return not _ADVICE.match(text) and any(mentions(text, name) for name in (*schema, *columns))


def lookup_query(text: str, schema: Schema) -> str | None:
    """A query for the stored texts that occur in a text, as rows of place and value; None without text columns."""
    told = _quoted(" ".join(text.casefold().split()))
    selects = [
        f"SELECT '{table}.{column}' {LOOKUP}, {_name(column)} AS value FROM {_name(table)} "
        f"WHERE {told} LIKE '%' || LOWER({_name(column)}) || '%'"
        for table, about in schema.items()
        for column, kind in about["columns"].items()
        if _TEXT.search(kind)
    ]
    return " UNION ".join(selects) or None


def read_lookup(text: str, answer: str, schema: Schema) -> dict[str, list[str]]:
    """The values a lookup found, with their places `table.column`: whole words of the text, the longest that fit."""
    found: dict[str, list[str]] = {}
    for row in read_rows(answer):
        place, value = row.get("place"), row.get("value")
        if isinstance(place, str) and isinstance(value, str) and place.split(".")[0] in schema:
            found.setdefault(value, []).append(place)
    folded = text.casefold()
    spans = {
        value: match.span()
        for value in found
        if (match := re.search(rf"(?<!\w){re.escape(value.casefold())}(?:s|es)?(?!\w)", folded))
    }
    return {
        value: found[value]
        for value, (start, end) in spans.items()
        if not any(s <= start and end <= e and e - s > end - start for s, e in spans.values())
    }


def read_rows(answer: str) -> list[dict[str, Any]]:
    """The rows in a tool's answer: a JSON list at its beginning, perhaps with a remark behind it."""
    try:
        rows, _ = json.JSONDecoder().raw_decode(answer.strip())
    except ValueError:
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def has_value(answer: str) -> bool:
    """Whether a tool's answer tells anything: not when its rows are empty or hold nothing but nulls."""
    return not answer.strip().startswith("[") or any(v is not None for row in read_rows(answer) for v in row.values())


def form_query(model: BaseChatModel, text: str, schema: Schema, values: Mapping[str, Sequence[str]]) -> Dialogue[str]:
    """Have the model choose table, operation and column; what only one thing fits is not asked.

    Args:
        model: The model that chooses.
        text: What is to be found out.
        schema: Of the database.
        values: Stored texts that occur in the text, each with its places.
    """
    plain = text
    for value in values:
        plain = re.sub(re.escape(value), "", plain, flags=re.IGNORECASE)
    table = yield from choose(model, TABLE, *_with_options(text, _tables(plain, schema, values)))
    filters = _value_filters(table, schema, values, plain)
    filters += yield from _number_filters(model, plain, table, schema)
    operation = yield from choose(model, OPERATION, text, _operations(plain, table, schema, filters))
    if operation == "number":
        return _compile(schema, table, "COUNT(*)", filters)
    if operation == "value" and (target := _referenced(plain, table, schema)):
        return _compile(schema, table, f"{_name(target[0])}.{_name(target[1])}", filters, also=target[0])
    column = yield from _choose_column(model, plain, operation, table, schema, filters)
    if operation in _AGGREGATES:
        return _compile(schema, table, f"{_AGGREGATES[operation]}({_name(table)}.{_name(column)})", filters)
    shown = list(dict.fromkeys([*_label(table, schema), column]))
    selected = ", ".join(f"{_name(table)}.{_name(each)}" for each in shown)
    if operation == "value":
        return _compile(schema, table, selected, filters)
    direction = "DESC" if operation == "highest" else "ASC"
    order = f" ORDER BY {_name(table)}.{_name(column)} {direction} LIMIT 1"
    return _compile(schema, table, selected, filters) + order


def _tables(plain: str, schema: Schema, values: Mapping[str, Sequence[str]]) -> list[str]:
    """Tables the question may be about: named ones, else those with a named column or a named value."""
    named = [table for table in schema if mentions(plain, table)]
    rows = {
        place.split(".")[0]
        for found in values.values()
        for place in found
        if place.split(".")[1] in _row_names(place.split(".")[0], schema)
    }
    if named and not any(_referenced(plain, table, schema) for table in rows):
        return named
    places = {place.split(".")[0] for found in values.values() for place in found}
    scores = {
        table: sum(2 * mentions(plain, column) for column in about["columns"] if not _is_key(column))
        + (table in places)
        for table, about in schema.items()
    }
    best = max(scores.values())
    return [table for table, score in scores.items() if score == best]


def _operations(plain: str, table: str, schema: Schema, filters: Sequence[Filter]) -> list[str]:
    """What can be done: a row that is named is there to find something in; figures want a numeric column."""
    columns = schema[table]["columns"]
    if any(
        each.table == table and each.operator == "=" and each.column in _row_names(each.table, schema)
        for each in filters
    ):
        return ["value"]
    used = {each.column for each in filters}
    sought = filters and any(
        overlap(_parts(column), plain) for column in columns if column not in used and not _is_key(column)
    )
    figures = ["total", "average", "highest", "lowest"] if any(_is_measure(table, c, schema) for c in columns) else []
    return ["number", *figures, *(["value"] if sought else [])]


def _choose_column(  # noqa: PLR0917 - as they are met
    model: BaseChatModel, plain: str, operation: str, table: str, schema: Schema, filters: Sequence[Filter]
) -> Dialogue[str]:
    used = {each.column for each in filters if each.table == table}
    columns = [
        column
        for column in schema[table]["columns"]
        if not _is_key(column) and column not in used and (operation == "value" or _is_measure(table, column, schema))
    ] or list(schema[table]["columns"])
    named = [column for column in columns if overlap(_parts(column), plain)]
    return (yield from choose(model, COLUMN, *_with_options(plain, named or columns, table)))


def _value_filters(table: str, schema: Schema, values: Mapping[str, Sequence[str]], plain: str) -> list[Filter]:
    """Each stored value at the place that is nearest to the table, or whose column the question names."""
    filters = []
    for value, places in values.items():
        reachable = [place for place in places if _path(schema, table, place.split(".")[0]) is not None]
        if reachable:

            def distance(place: str) -> tuple[bool, int]:
                owner, column = place.split(".", 1)
                named = mentions(plain, owner) or mentions(plain, column)
                return not named, len(_path(schema, table, owner) or ())

            owner, column = min(reachable, key=distance).split(".", 1)
            filters.append(Filter(owner, column, "=", _quoted(value)))
    return filters


def _number_filters(model: BaseChatModel, plain: str, table: str, schema: Schema) -> Dialogue[list[Filter]]:
    """Each number in the question as a condition: a year on a date column, else a comparison with a measure."""
    filters = []
    columns = schema[table]["columns"]
    dates = [column for column, kind in columns.items() if _DATE.search(kind)]
    measures = [column for column in columns if _is_measure(table, column, schema)]
    for number in operands(plain):
        around = f"{plain[: number.start]}N{plain[number.end :]}"
        if dates and re.fullmatch(r"(19|20)\d\d", number.digits):
            column = next((date for date in dates if mentions(plain, date)), dates[0])
            year = int(number.digits)
            filters.append(Filter(table, column, ">=", f"'{year}-01-01'"))
            filters.append(Filter(table, column, "<", f"'{year + 1}-01-01'"))
        elif measures and re.search(r"\d", plain[number.start : number.end]):
            named = [column for column in measures if overlap(_parts(column), plain)]
            column = yield from choose(model, COLUMN, *_with_options(around, named or measures, table))
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
    joins: list[str] = []
    for other in [each.table for each in filters] + ([also] if also else []):
        for step in _path(schema, table, other) or ():
            if step not in joins:
                joins.append(step)
    conditions = [f"{_name(f.table)}.{_name(f.column)} {f.operator} {f.literal}" for f in filters]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {selected} FROM {_name(table)}{''.join(joins)}{where}"


def _path(schema: Schema, start: str, end: str) -> list[str] | None:
    """The joins that lead from one table to another along references, the fewest there are."""
    paths: dict[str, list[str]] = {start: []}
    queue = [start]
    while queue:
        here = queue.pop(0)
        for there, join in _neighbours(schema, here):
            if there not in paths:
                paths[there] = [*paths[here], join]
                queue.append(there)
    return paths.get(end)


def _neighbours(schema: Schema, table: str) -> list[tuple[str, str]]:
    found = []
    for owner, about in schema.items():
        for column, target in about["references"].items():
            other, key = target.split(".", 1)
            condition = f"{_name(owner)}.{_name(column)} = {_name(other)}.{_name(key)}"
            if owner == table and other != table:
                found.append((other, f" JOIN {_name(other)} ON {condition}"))
            elif other == table and owner != table:
                found.append((owner, f" JOIN {_name(owner)} ON {condition}"))
    return found


def _label(table: str, schema: Schema) -> list[str]:
    """The column that names a row: `name` or `title`, else the first text."""
    columns = schema[table]["columns"]
    named = _row_names(table, schema)
    return (named or [column for column, kind in columns.items() if _TEXT.search(kind)])[:1]


def _with_options(text: str, options: Sequence[str], owner: str = "") -> tuple[str, Sequence[str]]:
    listed = ", ".join(options)
    return f"{text.strip()} ({owner}: {listed})" if owner else f"{text.strip()} ({listed})", options


def _is_measure(table: str, column: str, schema: Schema) -> bool:
    return bool(_NUMERIC.search(schema[table]["columns"][column])) and not _is_key(column)


def _row_names(table: str, schema: Schema) -> list[str]:
    """The column by which a row is called, `name` or, failing that, `title`."""
    columns = schema[table]["columns"]
    return [each for each in columns if stem(each) == "name"] or [each for each in columns if stem(each) == "title"]


def _is_key(column: str) -> bool:
    return "id" in stems(column)


def _parts(column: str) -> list[str]:
    return content_words(column.replace("_", " "))


def _name(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
