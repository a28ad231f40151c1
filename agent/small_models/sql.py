"""SQL without writing SQL: table, operation, column and filters are chosen one by one and compiled to one SELECT."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel

from plan_execute.agent.llm.structured_output import Dialogue
from plan_execute.agent.small_models.choice import choose
from plan_execute.agent.small_models.prompts import COLUMN, OPERATION, TABLE, FewShotPrompt
from plan_execute.agent.small_models.words import (
    FUNCTION_WORDS,
    UnsupportedGoalError,
    content_words,
    leaves_out,
    left_over,
    mentions,
    operands,
    overlap,
    stem,
    stems,
)

Schema = Mapping[str, Mapping[str, Any]]
"""`tool.metadata["schema"]`: {table: {"columns": {column: type}, "references": {column: "table.column"}}}."""

LOOKUP = "AS place"
"""Part of every query that looks up stored values, by which it is recognized later."""

_OPERATIONS = {
    "number": r"how many|total number|number|count|in total|altogether|overall",
    "total": r"total(?: number| amount)?|sum|add up|altogether|overall|combined|together|how many",
    "average": r"average|mean|avg",
    "highest": r"highest|largest|biggest|greatest|most|maximum|max",
    "lowest": r"lowest|smallest|least|fewest|minimum|min",
    "list": r"list|show|which|who|what|name|names|give",
    "value": r"how many|how much",
}
"""The words by which a text asks for an operation."""
_EXTREMES = {
    "highest": r"longest|oldest|heaviest|tallest|fastest|dearest",
    "lowest": r"shortest|youngest|lightest|smallest|slowest|cheapest",
}
"""The words that ask for an operation and speak of a column at the same time."""
_COMPARISONS = {
    ">=": r"at least|no less than|since|from",
    "<=": r"at most|no more than|up to",
    ">": r"(?:more|greater|higher|larger|heavier|longer|older) than|over|above|exceeding|after",
    "<": r"(?:less|fewer|lower|smaller|lighter|shorter|younger|cheaper) than|under|below|before",
    "=": r"exactly|in|of|during|",
}
"""What stands in front of a number, by how it is compared; the first that fits counts."""
_AGGREGATES = {"total": "SUM", "average": "AVG", "highest": "MAX", "lowest": "MIN"}


class Sense(NamedTuple):
    """Words that speak of a column without naming it."""

    nouns: str
    """What such a column is called."""
    words: str
    """Verbs and units that mean it."""
    adjectives: str = ""
    """What a row with much or little of it is."""
    superlatives: str = ""


_SENSES = [
    Sense(
        "price cost fee fare",
        "cost costs costing charge charged pay price prices priced dollar dollars euro euros pound pounds",
        "expensive cheap dear",
        "dearest cheapest",
    ),
    Sense("weight", "weigh weighs weighing kilogram kilograms kilo kilos kg", "heavy light", "heaviest lightest"),
    Sense("age", "aged", "old young", "oldest youngest"),
    Sense("length", "", "long short", "longest shortest"),
    Sense("height", "", "tall", "tallest"),
    Sense("speed", "", "fast slow", "fastest slowest"),
    Sense("salary wage pay income", "earn earns earned earning paid"),
]
_FILLER_LIST = """
a all also an and any are as at based be been being belong belongs called can come comes coming could currently data
database did do does find for from get give got grown had has have how in is just kept kindly live lives living
located many me much named now of on our please records rows say shop show so stored tell the to us was we were
what where which who whose will with work working works would you your
"""
_FILLERS = frozenset(_FILLER_LIST.split())
_IDLE = re.compile(r"\b(?:is|are|was|were) there\b|\bthere (?:is|are|was|were)\b|\bmade (?=of\b)", re.IGNORECASE)
"""Phrases that restrict nothing, whose words by themselves may."""
_ASKS = re.compile(r"\W*(?:(?:and|so|then|tell me|find out)\W+)*(who|whom|whose|where|when)\b", re.IGNORECASE)
_SHOWS = {"where": "text", "when": "date"}
"""What a column is that answers "where" or "when"; to any other question of `_ASKS`, one that names a row."""
_COUNTS = re.compile(r"\b(?:how many|number of|count|list|which|what|show|who|names?|give)\b", re.IGNORECASE)
_BY_NAME = re.compile(r"\b(?:name[sd]?|called|titled?|titles|entitled)\b", re.IGNORECASE)
_NUMERIC = re.compile(r"INT|NUM|DEC|REAL|FLOA|DOUB|MONEY", re.IGNORECASE)
_TEXT = re.compile(r"CHAR|TEXT|CLOB|STRING|ENUM", re.IGNORECASE)
_DATE = re.compile(r"DATE|TIME", re.IGNORECASE)
_DATE_NAMES = {"date", "day", "time", "timestamp", "year"}
"""Names of date columns of which a text need not speak: "in 2024" is enough."""
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
    columns = [
        (table, column)
        for table, about in schema.items()
        for column, kind in about["columns"].items()
        if _TEXT.search(kind)
    ]
    once = "DISTINCT " if len(columns) == 1 else ""  # a UNION gives each row once anyway
    selects = [
        f"SELECT {once}'{table}.{column}' {LOOKUP}, {_name(column)} AS value FROM {_name(table)} "
        f"WHERE {literal} LIKE '%' || LOWER({_name(column)}) || '%'"
        for table, column in columns
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
        if not (isinstance(place, str) and isinstance(value, str) and place.split(".")[0] in schema):
            continue
        if not re.search(r"\w", value):  # an empty text would be found in any other
            continue
        if value.casefold() not in FUNCTION_WORDS or re.search(rf"\b{re.escape(value)}\b", text):
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
    """Let the model choose table, operation and column among those that the text speaks of.

    Args:
        model: The model that chooses.
        text: What to find out.
        schema: The database schema.
        values: Stored texts that occur in the text, each with its places.

    Raises:
        UnsupportedGoalError: The query would leave out a word, a number or a stored text, or the text does not say
            what is asked for.
    """
    plain = _IDLE.sub("", text)
    for value in values:
        # "shipped to Peru" tells what was done, not the status "shipped"
        verb = re.search(rf"(?<!\w){re.escape(value)}\s+(?:to|by|from)\b", plain, re.IGNORECASE)
        if verb and value.casefold().endswith("ed"):
            raise leaves_out("A query of the database", [verb[0]])
        plain = re.sub(rf"(?<!\w){re.escape(value)}(?:s|es)?(?!\w)", " ", plain, flags=re.IGNORECASE)
    table = yield from _choose_from(model, TABLE, text, _tables(plain, schema, values))
    filters = [*_value_filters(table, schema, values, plain)]
    numbers, plain = _number_filters(plain, table, schema)
    filters += numbers
    operations = _operations(plain, table, schema, filters)
    if not operations:
        raise leaves_out("A query of the database", left_over(plain, [table], _FILLERS) or [text.strip()])
    operation = yield from choose(model, OPERATION, text, operations)
    shown: list[tuple[str, str]] = []
    if operation == "value" and (target := _referenced(plain, table, schema)):
        shown = [target]
    elif operation not in {"number", "list"}:
        taken = {each.column for each in filters if each.table == table}
        columns = _spoken_of(plain, table, schema, measures=operation != "value", without=taken)
        shown = [(table, (yield from _choose_from(model, COLUMN, plain, columns, table)))]
    query = _Query(table, operation, shown, filters)
    written = _write(query, schema)
    joined = [name for name in schema if f" JOIN {_name(name)} " in written]
    columns = [column for _, column in shown] + [each.column for each in filters]
    left = _left_over(plain, operation, [table, *joined, *columns]) + _unused(values, filters)
    if left := left or _not_shown(plain, query, schema):
        raise leaves_out("A query of the database", left)
    return written


class _Query(NamedTuple):
    table: str
    operation: str
    shown: Sequence[tuple[str, str]]
    """Table and column of what the operation is about; empty for "number" and "list"."""
    filters: Sequence[Filter]


def _write(query: _Query, schema: Schema) -> str:
    table, operation, shown, filters = query
    label = [(table, column) for column in _label(table, schema)]
    if operation == "number":
        return _compile(schema, table, "COUNT(*)", filters)
    if operation == "list":
        names = ", ".join(_qualified(*each) for each in label) if _row_names(table, schema) else f"{_name(table)}.*"
        return _compile(schema, table, names, filters)
    ((owner, column),) = shown
    columns = ", ".join(_qualified(*each) for each in dict.fromkeys([*label, *shown] if owner == table else shown))
    if operation == "value":
        return _compile(schema, table, columns, filters, also=owner)
    aggregate = _compile(schema, table, f"{_AGGREGATES[operation]}({_qualified(owner, column)})", filters)
    if operation not in _EXTREMES:
        return aggregate
    # Not LIMIT 1: several rows may share the extreme.
    return _compile(schema, table, columns, [*filters, Filter(table, column, "=", f"({aggregate})")])


def _left_over(plain: str, operation: str, used: Sequence[str]) -> list[str]:
    """The words and numbers of a text that have no counterpart in a query."""
    known = stems(" ".join(used))
    senses = [sense for sense in _SENSES if stems(sense.nouns) & known]
    said = [*used, *(sense.words for sense in senses)]
    if operation in _EXTREMES:
        said += [word for sense in senses for word in sense.superlatives.split() if word in _EXTREMES[operation]]
        said += [sense.adjectives for sense in senses if re.search(r"\b(?:most|least)\b", plain, re.IGNORECASE)]
    elif operation == "value" and re.search(r"\bhow\b", plain, re.IGNORECASE):
        said += ["high large low", *(sense.adjectives for sense in senses)]
    words = re.sub(rf"\b(?:{_OPERATIONS[operation]})\b", " ", _ASKS.sub(" ", plain, count=1), flags=re.IGNORECASE)
    numbers = [plain[number.start : number.end].strip() for number in operands(plain)]
    return left_over(words, said, _FILLERS) + numbers


def _not_shown(plain: str, query: _Query, schema: Schema) -> list[str]:
    """What a text asks for that a query does not show: a name, a place, a date, or rows of another table."""
    table, operation, shown, filters = query
    known = {(each.table, each.column) for each in filters if each.operator == "="}
    columns = {(table, column) for column in _label(table, schema) if all(owner == table for owner, _ in shown)}
    is_row = operation in {"value", "list", *_EXTREMES}
    kinds = {_kind(*each, schema) for each in columns.union(shown) - known if is_row}
    asked = _ASKS.match(plain)
    missing = [asked[1]] if asked and _SHOWS.get(asked[1].casefold(), "name") not in kinds else []
    if operation in {"number", "list"}:
        counted = _COUNTS.search(plain)
        first = (counted and _first_table(plain[counted.end() :], schema)) or _first_table(plain, schema)
        missing += [first] if first and first != table else []
        named = [f"{table} {column}" for column in _row_names(table, schema) if (table, column) in known]
        missing += [] if _BY_NAME.search(plain) else named
    return missing


def _first_table(plain: str, schema: Schema) -> str | None:
    """The table that a text names first, with the longest name of those that begin there."""
    words = f" {' '.join(_words(plain))} "
    found = [(words.find(f" {' '.join(_words(table))} "), -len(table), table) for table in schema]
    return min((each for each in found if each[0] >= 0), default=(0, 0, None))[2]


def _words(text: str) -> list[str]:
    return [stem(word) for word in re.findall(r"[^\W_]+", text)]


def _kind(table: str, column: str, schema: Schema) -> str:
    kind = schema[table]["columns"][column]
    if column in _row_names(table, schema):
        return "name"
    return "date" if _DATE.search(kind) else "text" if _TEXT.search(kind) else "number"


def _unused(values: Mapping[str, Sequence[str]], filters: Sequence[Filter]) -> list[str]:
    """The stored texts that no filter holds, and those of which no row can have both."""
    literals = {each.literal for each in filters}
    equal = [(each.table, each.column) for each in filters if each.operator == "="]
    exclusive = [each for each in filters if each.operator == "=" and equal.count((each.table, each.column)) > 1]
    return [value for value in values if _literal(value) not in literals] + [
        each.literal.strip("'") for each in exclusive[1:]
    ]


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
        + sum(2 * _is_spoken_of(column, plain) for column in about["columns"] if not _is_key(column))
        for table, about in schema.items()
    }
    best = max(scores.values())
    found = [table for table, score in scores.items() if score == best]
    distance = {t: sum(len(_path(schema, t, owner) or "far") for owner in with_values) for t in found}
    nearest = [table for table in found if distance[table] == min(distance.values())]
    if len(nearest) > 1:
        raise UnsupportedGoalError(f"It may be about {' or '.join(nearest)}, and the question does not say which.")
    return nearest


def _operations(plain: str, table: str, schema: Schema, filters: Sequence[Filter]) -> list[str]:
    """The operations that a text asks for and that make sense for a table."""

    def asks(pattern: str) -> bool:
        return re.search(rf"\b(?:{pattern})\b", plain, re.IGNORECASE) is not None

    own = {each.column for each in filters if each.table == table}
    of_row = bool(
        {each.column for each in filters if each.table == table and each.operator == "="}
        & set(_row_names(table, schema))
    )
    measures = _spoken_of(plain, table, schema, measures=True, without=own)
    values = _spoken_of(plain, table, schema, measures=False, without=own)
    counted = any(asks(rf"how many {re.escape(word)}\w*") for column in measures for word in stems(column))
    if of_row and counted:
        return ["value"]
    found = [
        figure for figure in _AGGREGATES if measures and asks(f"{_OPERATIONS[figure]}|{_EXTREMES.get(figure, '(?!)')}")
    ]
    if "total" in found and not counted and not asks(_OPERATIONS["total"].removesuffix("|how many")):
        found.remove("total")
    if mentions(plain, table) and asks(_OPERATIONS["number"]) and not counted:
        found.insert(0, "number")
    if not found and filters and (values or _referenced(plain, table, schema)):
        return ["value"]
    if not found and mentions(plain, table) and asks(_OPERATIONS["list"] if filters else "list|show"):
        return ["list"]
    return found


def _value_filters(table: str, schema: Schema, values: Mapping[str, Sequence[str]], plain: str) -> list[Filter]:
    """Each stored value at the place whose table or column the question names, else in the table itself.

    Raises:
        UnsupportedGoalError: There are several such places.
    """
    filters = []
    for value, places in values.items():
        reachable = []
        for owner, column in (place.split(".", 1) for place in places):
            if (path := _path(schema, table, owner)) is not None:
                named = mentions(plain, owner) or mentions(plain, column)
                reachable.append((not named, bool(path), owner, column))
        if reachable:
            *rank, owner, column = min(reachable)
            meant = [f"{other} {name}" for *ranked, other, name in sorted(reachable) if ranked == rank]
            if len(meant) > 1:
                meanings = " or ".join(meant)
                raise UnsupportedGoalError(f"{value!r} may be {meanings}, and the question does not say which.")
            filters.append(Filter(owner, column, "=", _literal(value)))
    return filters


def _number_filters(plain: str, table: str, schema: Schema) -> tuple[list[Filter], str]:
    """Make a condition of each number: a year on a date column, else a comparison with the measure that is spoken of.

    Returns:
        The conditions, and the text without the numbers that were used and the words in front of them.
    """
    filters: list[Filter] = []
    columns = schema[table]["columns"]
    dates = [column for column, kind in columns.items() if _DATE.search(kind)]
    dates = [each for each in dates if mentions(plain, each)] or [each for each in dates if stem(each) in _DATE_NAMES]
    measures = _spoken_of(plain, table, schema, measures=True, without=())
    numbers = [number for number in operands(plain) if re.search(r"\d", plain[number.start : number.end])]
    for number in reversed(numbers):
        before = plain[: number.start]
        cue, operator = next(
            (match, operator)
            for operator, words in _COMPARISONS.items()
            if (match := re.search(rf"(?:(?<!\w)(?:{words})\s+|(?<=\s)|^)$", before, re.IGNORECASE))
            if match[0].strip() or operator == "="
        )
        is_year = re.fullmatch(r"(19|20)\d\d", number.digits)
        if is_year and len(dates) == 1:
            this, following = f"'{number.digits}-01-01'", f"'{int(number.digits) + 1}-01-01'"
            bounds = {"=": ((">=", this), ("<", following)), ">": ((">=", following),), "<": (("<", this),)}
            bounds |= {">=": ((">=", this),), "<=": (("<", following),)}
            made = [Filter(table, dates[0], sign, day) for sign, day in bounds[operator]]
        elif len(measures) == 1 and not number.percent and not is_year:
            made = [Filter(table, measures[0], operator, number.digits)]
        else:
            continue
        if not any((each.table, each.column) == (made[0].table, made[0].column) for each in filters):
            filters += made
            plain = f"{plain[: cue.start()]} {plain[number.end :]}"
    return filters, plain


def _spoken_of(text: str, table: str, schema: Schema, *, measures: bool, without: Collection[str]) -> list[str]:
    """The columns that a text names, or speaks of in other words."""
    return [
        column
        for column in schema[table]["columns"]
        if _is_spoken_of(column, text)
        and column not in without
        and (_is_measure(table, column, schema) if measures else not _is_key(column))
    ]


def _is_spoken_of(column: str, text: str) -> bool:
    names = content_words(column.replace("_", " "))
    senses = [" ".join(sense[1:]).split() for sense in _SENSES if overlap(names, sense.nouns)]
    return overlap(names, text) > 0 or any(overlap(words, text) for words in senses)


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
    """The fewest joins that lead from one table to another along its references, so that no row is counted twice."""
    paths: dict[str, list[str]] = {start: []}
    queue = [start]
    for here in queue:
        for column, target in schema[here]["references"].items():
            there, key = target.split(".", 1)
            if there not in paths and there in schema:
                join = f" JOIN {_name(there)} ON {_qualified(here, column)} = {_qualified(there, key)}"
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
