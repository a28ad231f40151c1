"""What the bundled model can do in this project's pipeline, in a ReAct agent, and in comparison with no model at all.

    python tests/benchmarks/bench_small_model.py [plan-execute] [react] [control] [-v]

Three worlds, each with a database, documents and a calculator: the sample shop and a vineyard, whose requests were
known while the compact forms were written, and a railway with requests written afterwards. Nearly all have two steps.
An answer is right when it contains every expected figure or phrase; expected figures from the shop's database are
computed with SQL written by hand.
"""

import json
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool

from plan_execute.agent.small_models.chat_model import LocalChatModel
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.tools.arithmetic import calculate
from plan_execute.tools.database import database_tools
from plan_execute.tools.documents import document_tools
from plan_execute.tools.sample import sample_database, sample_documents


class Case(NamedTuple):
    """A request and what its answer must contain; SQL for a figure that comes from the database."""

    request: str
    expected: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Tools and requests that belong together; in `expected`, a text that begins with SELECT is run."""

    name: str
    database: Path
    documents: Path
    cases: Sequence[Case]

    def tools(self) -> list[BaseTool]:
        """Return the tools of this world."""
        return [*database_tools(f"sqlite:///{self.database}"), *document_tools(self.documents), calculate]

    def right(self, case: Case, answer: str) -> bool:
        """Tell whether an answer contains all that was expected."""
        told = re.sub(r"(?<=\d),(?=\d{3})", "", answer).casefold()
        return all(_contains(told, self._value(expected)) for expected in case.expected)

    def _value(self, expected: str) -> str:
        if not expected.startswith("SELECT"):
            return expected
        with sqlite3.connect(self.database) as connection:
            value = connection.execute(expected).fetchone()[0]
        return f"{value:.15g}" if isinstance(value, float) else str(value)  # as the tools show it


SHOP = [
    Case(
        "How many customers live in Germany, and what is 15% of that number?",
        (
            "SELECT count(*) FROM customer WHERE country = 'Germany'",
            "SELECT count(*) * 0.15 FROM customer WHERE country = 'Germany'",
        ),
    ),
    Case(
        "What is the average salary of the sales advisors, and what is 8% of it?",
        ("SELECT avg(salary) * 0.08 FROM employee WHERE title = 'Sales Advisor'",),
    ),
    Case(
        "Count the cancelled orders. Divide that number by 4.",
        ("SELECT count(*) / 4.0 FROM orders WHERE status = 'cancelled'",),
    ),
    Case("How much does express shipping to Canada cost, and what do 12 such parcels cost?", ("34", "408")),
    Case("How long after delivery can goods be returned? Then multiply the number of days by 24.", ("45", "1080")),
    Case(
        "How many orders have express shipping, and how heavy may the heaviest parcel be?",
        ("SELECT count(*) FROM orders WHERE shipping = 'express'", "20 kilograms"),
    ),
    Case(
        "Which employee has the highest salary, and what discount do gold members get?",
        ("SELECT name FROM employee ORDER BY salary DESC LIMIT 1", "12 percent"),
    ),
    Case("What is the lowest salary, and what is 12 times that?", ("SELECT min(salary) * 12 FROM employee",)),
    Case(
        "How many suppliers are there in Norway? What discount do silver members get?",
        ("SELECT count(*) FROM supplier WHERE country = 'Norway'", "5 percent"),
    ),
    Case("What discount do clubs and schools get, and how much is 18% of 1,200?", ("18 percent", "216")),
    Case(
        "Divide 1,440 by 12, and find out how many customers live in Japan.",
        ("120", "SELECT count(*) FROM customer WHERE country = 'Japan'"),
    ),
    Case(
        "What is the total stock of all products, and what is half of it?",
        ("SELECT sum(stock) FROM product", "SELECT sum(stock) / 2.0 FROM product"),
    ),
    Case(
        "How many employees work in the Toronto office, and for how long are gift cards valid?",
        ("SELECT count(*) FROM employee WHERE office = 'Toronto'", "36 months"),
    ),
    Case("What does standard shipping to Japan cost, and what is that times 7?", ("31", "217")),
    Case(
        "Count the customers with the gold level, then subtract 9 from that number.",
        ("SELECT count(*) - 9 FROM customer WHERE level = 'gold'",),
    ),
    Case(
        "In which office does Callum Reid work, and what is the express price to Canada in the shipping rules?",
        ("SELECT office FROM employee WHERE name = 'Callum Reid'", "34"),
    ),
]

VINEYARD = [
    Case("How many wines are from the Ebro region, and what is 20% of that number?", ("5", "1")),
    Case("What is the average price of the red wines? Take 10% off that price.", ("20", "18")),
    Case("Count the barrels made of chestnut, then multiply the number by 225.", ("4", "900")),
    Case("What does the long tour cost, and how much do 6 people pay for it?", ("35", "210")),
    Case("Which wine has the highest price, and may dogs come into the cellar?", ("Solera Roja", "leash")),
    Case("What is the smallest volume of a barrel? Divide it by 50.", ("100", "2")),
    Case("How many visitors does a tour take at most, and how many barrels are there?", ("16", "9")),
    Case("What is the sum of 48 and 27, and how many wines are white?", ("75", "4")),
    Case("How long is an opened bottle good, and what is twice that number of days?", ("5", "10")),
    Case("What is the price of Luz Blanca, and what is 3 times that?", ("12", "36")),
    Case("What fee is charged for a broken glass, then add 14 to it.", ("6", "20")),
    Case("Add up the bottles of all wines, and at what temperature should red wine be served?", ("5200", "17")),
    Case("Divide 96 by 8, then add 30 to the result.", ("12", "42")),
    Case("In which region is Vega Alta grown, and how much does the short tour cost?", ("Duero", "15")),
    Case("Hello!", ()),
]

RAILWAY = [
    Case("How many stations are in Wales, and what is 30% of that number?", ("4", "1.2")),
    Case("What is the average speed of the steam trains, and what is half of it?", ("60", "30")),
    Case("How much does a day ticket cost, and how much do 9 people pay for it?", ("22", "198")),
    Case("Which train has the highest speed, and may bicycles be taken along?", ("Red Kite", "guard")),
    Case("Count the diesel trains. Multiply that number by 13.", ("3", "39")),
    Case(
        "What is the total number of seats, and how long does a lost umbrella stay in the office?", ("1180", "30 days")
    ),
    Case("Divide 560 by 7, then subtract 15 from the result.", ("80", "65")),
    Case("What is the fine for a smoker, and what is twice that?", ("50", "100")),
    Case("How many platforms does Conwy have, and what is 18 times 6?", ("3", "108")),
    Case("At what time does the last train leave, and how many stations are there?", ("21:40", "7")),
]
"""Written after the compact forms were finished: a held-out set."""

_VINEYARD_DATABASE = """
CREATE TABLE region (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE wine (id INTEGER PRIMARY KEY, name TEXT NOT NULL, colour TEXT NOT NULL, region_id INTEGER NOT NULL
    REFERENCES region (id), price REAL NOT NULL, bottles INTEGER NOT NULL);
CREATE TABLE barrel (id INTEGER PRIMARY KEY, wine_id INTEGER NOT NULL REFERENCES wine (id), wood TEXT NOT NULL,
    volume INTEGER NOT NULL);
INSERT INTO region VALUES (1, 'Ebro'), (2, 'Duero'), (3, 'Coast');
INSERT INTO wine VALUES (1, 'Solera Roja', 'red', 1, 38, 300), (2, 'Vega Alta', 'red', 2, 14, 900),
    (3, 'Monte Negro', 'red', 1, 16, 1100), (4, 'Tinto Joven', 'red', 3, 12, 800),
    (5, 'Luz Blanca', 'white', 3, 12, 700),
    (6, 'Brisa', 'white', 3, 9, 600), (7, 'Clara', 'white', 1, 11, 400), (8, 'Nube', 'white', 1, 17, 250),
    (9, 'Alba Rosa', 'pink', 1, 10, 150);
INSERT INTO barrel VALUES (1, 1, 'oak', 225), (2, 1, 'oak', 225), (3, 2, 'oak', 300), (4, 2, 'chestnut', 225),
    (5, 3, 'oak', 500), (6, 3, 'chestnut', 225), (7, 4, 'acacia', 100), (8, 5, 'chestnut', 225),
    (9, 8, 'chestnut', 300);
"""

_VINEYARD_DOCUMENTS = {
    "tours.md": """# Tours

## Prices

The short tour costs 15 euros and ends in the cellar. The long tour costs 35 euros and ends with a meal.

## Groups

A tour takes at most 16 visitors. Larger groups are split.

## Rules

Dogs may come into the cellar on a leash. Nobody may smoke in the cellar.
A fee of 6 euros is charged for a broken glass.
""",
    "serving.md": """# Serving wine

Red wine should be served at a temperature of 17 degrees. White wine should be served at 9 degrees.

## Storage

An opened bottle stays good for 5 days in the refrigerator. Unopened bottles lie in the dark.
""",
}


_RAILWAY_DATABASE = """
CREATE TABLE station (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL, platforms INTEGER NOT NULL);
CREATE TABLE train (id INTEGER PRIMARY KEY, name TEXT NOT NULL, engine TEXT NOT NULL, speed INTEGER NOT NULL,
    seats INTEGER NOT NULL, home_id INTEGER REFERENCES station (id));
INSERT INTO station VALUES (1, 'Conwy', 'Wales', 3), (2, 'Bala', 'Wales', 1), (3, 'Ludlow', 'England', 2),
    (4, 'Tenby', 'Wales', 2), (5, 'Barmouth', 'Wales', 2), (6, 'Whitby', 'England', 4), (7, 'Mallaig', 'Scotland', 1);
INSERT INTO train VALUES (1, 'Old Bess', 'steam', 50, 120, 1), (2, 'Gwen', 'steam', 70, 160, 4),
    (3, 'Red Kite', 'diesel', 130, 300, 3), (4, 'Heather', 'diesel', 110, 280, 7), (5, 'Puffin', 'diesel', 100, 320, 6);
"""

_RAILWAY_DOCUMENTS = {
    "tickets.md": """# Tickets

## Prices

A single ticket costs 9 pounds. A day ticket costs 22 pounds and is valid on all lines.

## Fines

Whoever travels without a ticket pays a fine of 80 pounds. The fine for a smoker is 50 pounds.
""",
    "travelling.md": """# Travelling with us

## Timetable

The first train leaves at 6:15. The last train leaves at 21:40.

## Luggage

Bicycles may be taken along if the guard agrees. Suitcases travel free.

## Lost property

A lost umbrella stays in the office for 30 days. After that it is sold.
""",
}


class NearestExample(BaseChatModel):
    """No model: each choice is that of the example that shares most words with the question."""

    def __init__(self) -> None:
        super().__init__(metadata={"compact": True})

    @property
    def _llm_type(self) -> str:
        return "nearest-example"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Hello!"))])

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Answer with the nearest option."""

        def answer(messages: Sequence[BaseMessage]) -> dict[str, Any]:
            options = schema["properties"].get("choice", {}).get("enum")
            data = {"answer": "Hello!"} if options is None else {"choice": _nearest(messages[-1].text, options)}
            return {"raw": AIMessage(json.dumps(data)), "parsed": data, "parsing_error": None}

        return RunnableLambda(answer)


def main(arguments: Sequence[str]) -> None:
    """Run the systems named, or all, and print the table."""
    verbose = "-v" in arguments
    named = [argument for argument in arguments if argument in SYSTEMS] or list(SYSTEMS)
    with tempfile.TemporaryDirectory() as folder:
        worlds = [
            World("shop", Path(sample_database().removeprefix("sqlite:///")), sample_documents(), SHOP),
            make_world("vineyard", Path(folder), _VINEYARD_DATABASE, _VINEYARD_DOCUMENTS, VINEYARD),
            make_world("railway", Path(folder), _RAILWAY_DATABASE, _RAILWAY_DOCUMENTS, RAILWAY),
        ]
        rows = [_measure(system, world, verbose=verbose) for system in named for world in worlds]
    print(f"\n{'system':<14}{'world':<12}{'right':>8}{'seconds':>10}{'slowest':>10}")
    for system, world, right, cases, seconds, slowest in rows:
        print(f"{system:<14}{world:<12}{f'{right}/{cases}':>8}{seconds:>10.0f}{slowest:>10.1f}")


def _measure(system: str, world: World, *, verbose: bool) -> tuple[str, str, int, int, float, float]:
    run = SYSTEMS[system](world.tools())
    right, seconds = 0, []
    for case in world.cases:
        begun = time.perf_counter()
        try:
            answer = run(case.request)
        except Exception as error:  # noqa: BLE001 - a wrong answer, whatever went wrong
            answer = f"{type(error).__name__}: {error}"
        seconds.append(time.perf_counter() - begun)
        good = world.right(case, answer)
        right += good
        if verbose:
            print(f"{'ok ' if good else 'NO '} {system} {seconds[-1]:5.1f}s {case.request}")
            print(f"      {answer[:300]!r}", flush=True)
    return system, world.name, right, len(world.cases), sum(seconds), max(seconds)


def _plan_execute(tools: Sequence[BaseTool], model: BaseChatModel | None = None) -> Callable[[str], str]:
    agent = create_plan_execute_agent(model or LocalChatModel(), tools=tools)

    def run(request: str) -> str:
        return str(agent.invoke({"messages": [HumanMessage(request)]})["answer"] or "")

    return run


def _react(tools: Sequence[BaseTool]) -> Callable[[str], str]:
    """LangChain's agent; a failing tool tells the model instead of ending the run."""
    patient = [tool.model_copy(update={"handle_tool_error": True}) for tool in tools]
    agent = create_agent(LocalChatModel(max_tokens=200), patient, middleware=[ModelCallLimitMiddleware(run_limit=8)])

    def run(request: str) -> str:
        return str(agent.invoke({"messages": [HumanMessage(request)]})["messages"][-1].text)

    return run


def _control(tools: Sequence[BaseTool]) -> Callable[[str], str]:
    return _plan_execute(tools, NearestExample())


SYSTEMS: dict[str, Callable[[Sequence[BaseTool]], Callable[[str], str]]] = {
    "plan-execute": _plan_execute,
    "react": _react,
    "control": _control,
}


def make_world(name: str, folder: Path, tables: str, texts: dict[str, str], cases: Sequence[Case]) -> World:
    """Write a database and documents into a folder."""
    database = folder / f"{name}.db"
    connection = sqlite3.connect(database)
    connection.executescript(tables)
    connection.close()
    documents = folder / name
    documents.mkdir()
    for title, text in texts.items():
        (documents / title).write_text(text, encoding="utf-8")
    return World(name, database, documents, cases)


def _nearest(prompt: str, options: Sequence[str]) -> str:
    """The option of the nearest example, else the option that shares most words with the question."""
    *shown, asked = (block.split("\n") for block in prompt.split("\n\n")[1:])
    words = _words(asked[0])
    examples = [(_words(question), answer.partition(": ")[2]) for question, answer in shown]
    known = [(len(words & told) / len(words | told), answer) for told, answer in examples if answer in options]
    if known:
        return max(known, key=lambda pair: pair[0])[1]
    return max(options, key=lambda option: len(words & _words(option)))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _contains(told: str, expected: str) -> bool:
    expected = re.sub(r"\.0$", "", expected).casefold()
    return re.search(rf"(?<![\w.]){re.escape(expected)}(?![\w]|\.[1-9])", told) is not None


if __name__ == "__main__":
    main(sys.argv[1:])
