"""Sample data: the database and the staff documents of Larkfell, a small outdoor shop."""

import os
import random
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

VERSION = 1
"""Part of the database's file name: raise it whenever the data changes."""


def sample_database() -> str:
    """Locate the shop's database, which is built in the user's cache folder on first use.

    Returns:
        Its SQLAlchemy URL, as `database_tools` takes it.
    """
    from platformdirs import user_cache_path

    path = user_cache_path("plan-execute", appauthor=False) / f"larkfell-{VERSION}.db"
    if not path.exists():
        build_sample_database(path)
    return f"sqlite:///{path}"


def build_sample_database(path: Path) -> None:
    """Write the shop's database, with the same content every time, and move it to its path once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder, path.name)
        with closing(sqlite3.connect(draft)) as connection:
            connection.executescript(_TABLES)
            _fill(connection, random.Random(7))
            connection.commit()
        os.replace(draft, path)


def sample_documents() -> Path:
    """Locate the shop's documents: shipping, returns, discounts, warranty, care, repairs, staff.

    Returns:
        Their folder, as `document_tools` takes it.
    """
    return Path(__file__).with_name("sample_documents")


_TABLES = """
CREATE TABLE category (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE supplier (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL);
CREATE TABLE product (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, category_id INTEGER NOT NULL REFERENCES category (id),
    supplier_id INTEGER NOT NULL REFERENCES supplier (id), price NUMERIC NOT NULL, weight NUMERIC NOT NULL,
    stock INTEGER NOT NULL);
CREATE TABLE customer (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL,
    level TEXT NOT NULL, joined DATE NOT NULL);
CREATE TABLE employee (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, title TEXT NOT NULL, office TEXT NOT NULL, salary INTEGER NOT NULL,
    hired DATE NOT NULL, manager_id INTEGER REFERENCES employee (id));
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id),
    employee_id INTEGER NOT NULL REFERENCES employee (id), date DATE NOT NULL, status TEXT NOT NULL,
    shipping TEXT NOT NULL);
CREATE TABLE order_item (
    id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id),
    product_id INTEGER NOT NULL REFERENCES product (id), quantity INTEGER NOT NULL, price NUMERIC NOT NULL);
CREATE TABLE review (
    id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES product (id),
    customer_id INTEGER NOT NULL REFERENCES customer (id), rating INTEGER NOT NULL, date DATE NOT NULL);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX order_item_order ON order_item (order_id);
CREATE INDEX order_item_product ON order_item (product_id);
"""

_NOBODY_ORDERS_BEFORE_JOINING = """
UPDATE customer
SET joined = MIN(joined, COALESCE((SELECT MIN(date) FROM orders WHERE customer_id = customer.id), joined))
"""

_FIRST_DAY = date(2022, 1, 3)
_LAST_DAY = date(2025, 12, 30)

_Order = tuple[int, int, int, str, str, str]
_Item = tuple[int, int, int, int, float]


def _fill(connection: sqlite3.Connection, rng: random.Random) -> None:
    """Generate the rows of all tables; prices are whole or half dollars, so that sums are exact."""
    products = list(_products(rng))
    customers = list(_customers(rng))
    orders = list(_orders(rng, len(customers)))
    items = _items(rng, len(orders), [price for *_, price, _, _ in products])
    tables: dict[str, Sequence[tuple[object, ...]]] = {
        "category": list(enumerate(_GOODS, 1)),
        "supplier": [(number, *about) for number, about in enumerate(_SUPPLIERS, 1)],
        "product": products,
        "customer": customers,
        "employee": [(number, *about) for number, about in enumerate(_EMPLOYEES, 1)],
        "orders": orders,
        "order_item": items,
        "review": list(_reviews(rng, orders, items)),
    }
    for table, rows in tables.items():
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.execute(_NOBODY_ORDERS_BEFORE_JOINING)


def _products(rng: random.Random) -> Iterator[tuple[int, str, int, int, float, float, int]]:
    number = 0
    for category, kinds in enumerate(_GOODS.values(), 1):
        lines = rng.sample(_LINES, 5)
        for kind in kinds.split(", "):
            name, lowest, highest, weight = kind.rsplit(maxsplit=3)
            for line in rng.sample(lines, 3):
                number += 1
                supplier = 1 + (2 * category + rng.randrange(3)) % len(_SUPPLIERS)
                price = rng.randint(2 * int(lowest), 2 * int(highest)) / 2
                stock = 0 if rng.random() < 0.06 else rng.randint(4, 180)
                yield number, f"{line} {name}", category, supplier, price, float(weight), stock


def _customers(rng: random.Random) -> Iterator[tuple[int, str, str, str, str, str, str]]:
    people = []
    lines = _CUSTOMERS.splitlines()
    for about, first, last in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        country, count, *cities = about.split(", ")
        names = [f"{given} {family}" for given in first.split() for family in last.split()]
        people += [(name, rng.choice(cities), country) for name in rng.sample(names, int(count))]
    rng.shuffle(people)
    for number, (name, city, country) in enumerate(people, 1):
        level = rng.choices(("basic", "silver", "gold"), (70, 22, 8))[0]
        joined = _day(rng, date(2019, 3, 4), date(2025, 10, 31))
        yield number, name, _email(name), city, country, level, joined


def _orders(rng: random.Random, customers: int) -> Iterator[_Order]:
    days = sorted(_day(rng, _FIRST_DAY, _LAST_DAY) for _ in range(3_200))
    advisors = [(number, who[4]) for number, who in enumerate(_EMPLOYEES, 1) if who[1] == "Sales Advisor"]
    loyalty = [rng.paretovariate(2.6) for _ in range(customers)]
    for number, day in enumerate(days, 1):
        customer = rng.choices(range(1, customers + 1), loyalty)[0]
        advisor = rng.choice([employee for employee, hired in advisors if hired <= day])
        if day > "2025-12-10":
            status = rng.choices(("open", "shipped"), (60, 40))[0]
        else:
            status = rng.choices(("delivered", "cancelled", "returned"), (90, 4, 6))[0]
        shipping = rng.choices(("standard", "express", "pickup"), (74, 19, 7))[0]
        yield number, customer, advisor, day, status, shipping


def _items(rng: random.Random, orders: int, prices: list[float]) -> list[_Item]:
    popularity = [rng.paretovariate(1.8) for _ in prices]
    items: list[_Item] = []
    for order in range(1, orders + 1):
        basket = dict.fromkeys(rng.choices(range(len(prices)), popularity, k=rng.choice((1, 1, 2, 2, 3, 4))))
        for product in basket:
            quantity = rng.choice((1, 1, 1, 1, 2, 2, 3))
            items.append((len(items) + 1, order, product + 1, quantity, prices[product]))
    return items


def _reviews(rng: random.Random, orders: list[_Order], items: list[_Item]) -> Iterator[tuple[int, int, int, int, str]]:
    number = 0
    for _, order, product, _, _ in items:
        _, customer, _, day, status, _ = orders[order - 1]
        if status == "delivered" and rng.random() < 0.17:
            number += 1
            rating = rng.choices((1, 2, 3, 4, 5), (4, 7, 15, 36, 38))[0]
            written = date.fromisoformat(day) + timedelta(days=rng.randint(9, 60))
            yield number, product, customer, rating, min(written, _LAST_DAY).isoformat()


def _day(rng: random.Random, first: date, last: date) -> str:
    return (first + timedelta(days=rng.randint(0, (last - first).days))).isoformat()


def _email(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower().replace("ø", "o")).encode("ascii", "ignore").decode()
    return plain.replace(" ", ".") + "@example.com"


_LINES = ("Heron", "Marten", "Bracken", "Cairn", "Fulmar", "Juniper", "Kestrel", "Larch", "Osprey", "Plover", "Sorrel")
"""Names of product lines, which come before the kind of product."""

_GOODS = {
    "Tents": "One-Person Tent 149 259 1.25, Two-Person Tent 199 389 2, Family Tent 329 649 7.5, "
    "Tarp 49 119 0.75, Bivouac Bag 69 159 0.5",
    "Sleeping": "Down Sleeping Bag 219 449 1, Summer Sleeping Bag 69 129 0.75, Sleeping Mat 39 149 0.5, "
    "Hammock 45 110 0.75, Travel Pillow 14 35 0.25",
    "Backpacks": "Day Pack 49 109 0.75, Trekking Pack 149 289 2, Child Carrier 189 299 2.75, "
    "Duffel 69 149 1.25, Waist Pack 19 45 0.25",
    "Jackets": "Rain Jacket 119 279 0.5, Down Jacket 169 339 0.5, Fleece Jacket 59 129 0.5, "
    "Wind Shell 69 139 0.25, Winter Parka 249 479 1.25",
    "Footwear": "Hiking Boots 129 259 1.25, Trail Shoes 89 159 0.75, Approach Shoes 99 169 0.75, "
    "Winter Boots 149 269 1.5, Camp Sandals 35 79 0.5",
    "Cooking": "Gas Stove 35 99 0.25, Cook Set 29 89 0.75, Vacuum Flask 19 45 0.5, "
    "Water Filter 29 95 0.25, Folding Cup 8 18 0.25",
    "Climbing": "Climbing Rope 119 259 3.75, Harness 49 129 0.5, Helmet 49 115 0.25, "
    "Carabiner Set 24 69 0.25, Ice Axe 79 179 0.5",
    "Lighting": "Headlamp 24 99 0.25, Lantern 29 79 0.5, Solar Panel 69 169 0.75, "
    "Power Bank 29 89 0.25, Bike Light 19 59 0.25",
}
"""Kinds of products by category: name, lowest and highest price in dollars, weight in kilograms."""


_SUPPLIERS = [
    ("Nordvind Textil", "Gothenburg", "Sweden"),
    ("Halden Down", "Oslo", "Norway"),
    ("Alpine Forge", "Innsbruck", "Austria"),
    ("Dolomite Works", "Bolzano", "Italy"),
    ("Cascade Mills", "Portland", "United States"),
    ("Maple Ridge Gear", "Vancouver", "Canada"),
    ("Rhine Optik", "Cologne", "Germany"),
    ("Chamonix Cordage", "Annecy", "France"),
    ("Hinode Stoves", "Osaka", "Japan"),
    ("Saigon Stitch", "Da Nang", "Vietnam"),
    ("Porto Calçado", "Porto", "Portugal"),
    ("Tatra Outdoor", "Krakow", "Poland"),
    ("Peak Leather", "Sheffield", "United Kingdom"),
    ("Busan Alloy", "Busan", "South Korea"),
]

_EMPLOYEES = [
    ("Margaret Ellwood", "Managing Director", "Burlington", 118000, "2012-04-02", None),
    ("Tomasz Zielinski", "Head of Operations", "Burlington", 86000, "2014-09-15", 1),
    ("Priya Raman", "Head of Sales", "Burlington", 84000, "2015-02-09", 1),
    ("Joseph Achterberg", "Head of Finance", "Burlington", 88000, "2016-06-20", 1),
    ("Hannah Liddell", "Sales Advisor", "Burlington", 41000, "2017-03-13", 3),
    ("Callum Reid", "Sales Advisor", "Burlington", 39500, "2018-05-07", 3),
    ("Aoife Brennan", "Sales Advisor", "London", 42000, "2018-08-27", 3),
    ("Lukas Baumann", "Sales Advisor", "Munich", 45500, "2019-01-14", 3),
    ("Camille Fournier", "Sales Advisor", "Munich", 44000, "2019-10-01", 3),
    ("Daniel Okafor", "Sales Advisor", "Toronto", 46000, "2020-02-17", 3),
    ("Emily Tremblay", "Sales Advisor", "Toronto", 45000, "2021-04-19", 3),
    ("Grace Nakamura", "Sales Advisor", "Toronto", 43500, "2022-07-11", 3),
    ("Oliver Marsh", "Sales Advisor", "Burlington", 37500, "2023-09-04", 3),
    ("Sofia Lindqvist", "Sales Advisor", "Munich", 42500, "2024-01-22", 3),
    ("Ewan Thorburn", "Warehouse Lead", "Burlington", 46500, "2016-11-28", 2),
    ("Beatriz Moreira", "Warehouse Clerk", "Burlington", 31000, "2019-06-03", 15),
    ("Jakub Nowak", "Warehouse Clerk", "Burlington", 30500, "2020-09-21", 15),
    ("Ruth Hargreaves", "Warehouse Clerk", "Burlington", 29500, "2022-03-07", 15),
    ("Marc Gagnon", "Warehouse Lead", "Toronto", 47000, "2020-05-11", 2),
    ("Nadia Haddad", "Warehouse Clerk", "Toronto", 33000, "2021-11-15", 19),
    ("Peter Ashdown", "Repair Technician", "Burlington", 38500, "2013-08-19", 2),
    ("Ingrid Solheim", "Repair Technician", "Burlington", 37000, "2018-02-05", 2),
    ("Victor Almeida", "Accountant", "Burlington", 52000, "2017-07-31", 4),
    ("Yasmin Siddiqui", "Accountant", "Burlington", 49500, "2021-01-25", 4),
]
"""Name, title, office, yearly salary in dollars, hiring date and the id of the manager."""

_CUSTOMERS = """\
United States, 160, Denver, Seattle, Boston, Chicago, Austin
    Aaron Abigail Benjamin Caroline Dylan Ethan Jasmine Jordan Kayla Logan Madison Nathan Olivia Samuel Tyler
    Anderson Bennett Carter Diaz Foster Hayes Jenkins Kim Lopez Miller Nelson Parker Reyes Sanders Turner
Canada, 95, Toronto, Vancouver, Montreal, Calgary, Halifax
    Adele Brandon Chantal Derek Elise Gabriel Heather Isabelle Julien Kirsten Liam Melanie Noah Patrick Sophie
    Bouchard Campbell Fraser Gauthier Hill Lavoie MacDonald Morin Murphy Pelletier Ross Roy Singh Stewart Wong
United Kingdom, 85, London, Manchester, Leeds, Bristol, Edinburgh
    Alice Amelia Arthur Charlotte David Edward Eleanor Freya George Harriet Imogen James Lucy Matthew Oscar
    Adams Barker Clarke Dawson Ellis Fletcher Gibson Harper Ingham Kerr Lawson Mercer Norris Pearce Sutton
Germany, 80, Berlin, Hamburg, Munich, Cologne, Leipzig
    Anja Birgit Christian Dieter Elke Florian Greta Hannes Jonas Katrin Lena Markus Sabine Stefan Ulrike
    Becker Brandt Fischer Hartmann Keller Krause Lehmann Meier Neumann Richter Schulz Seidel Vogel Wagner
France, 60, Paris, Lyon, Grenoble, Nantes, Toulouse
    Antoine Aurélie Baptiste Chloé Didier Élodie Fabien Hugo Inès Julie Laurent Manon Nicolas Pauline Romain
    Bernard Chevalier Dubois Durand Faure Garnier Lambert Leroy Marchand Moreau Perrin Renard Rousseau Simon
Netherlands, 40, Amsterdam, Utrecht, Rotterdam, Groningen
    Anouk Bram Daan Eva Femke Jasper Koen Lotte Maarten Nienke Sander Wouter
    Bakker Bos Dekker Hendriks Jansen Kuiper Mulder Peters Smit Visser Vos Willems
Japan, 40, Tokyo, Osaka, Sapporo, Nagoya
    Aiko Daiki Emi Haruto Kaori Kenji Mei Naoki Ren Sakura Takumi Yui
    Fujita Hayashi Ito Kato Kobayashi Matsuda Nakano Ogawa Sato Suzuki Tanaka Yamada
Sweden, 35, Stockholm, Malmö, Uppsala, Umeå
    Anders Astrid Elin Erik Gustav Ida Karin Lars Maja Nils Sara Viktor
    Berglund Dahl Ekström Forsberg Holm Isaksson Karlsson Lund Nyström Persson Sandberg Wallin
Australia, 35, Sydney, Melbourne, Hobart, Perth
    Angus Bronte Callan Darcy Erin Georgia Hamish Jack Kirra Lachlan Matilda Tahlia
    Armstrong Boyd Chapman Doyle Farrell Grant Hughes Kelly Lowe McKenzie Quinn Webb
Spain, 30, Madrid, Barcelona, Valencia, Bilbao
    Alba Álvaro Carmen Diego Elena Javier Lucía Marta Pablo Raquel Sergio Teresa
    Blanco Castro Delgado Fuentes Iglesias Molina Navarro Ortega Prieto Ramos Serrano Vega
Switzerland, 30, Zurich, Bern, Basel, Geneva
    Andrea Beat Corinne Fabio Jana Luca Martina Nadine Reto Simone Thomas Urs
    Ammann Bühler Egli Frei Gerber Huber Keller Lüthi Meyer Roth Steiner Wyss
Norway, 20, Oslo, Bergen, Trondheim
    Aksel Bjørn Dag Eline Hege Ingvild Kari Magnus Olav Silje
    Aas Berg Eide Haugen Lie Moen Nygård Solberg Strand Vik
"""
"""Three lines for each country: its name, its number of customers and their cities; first names; last names."""
