"""Requests as people type them, about the sample shop, each of which the bundled model may answer rightly or refuse.

They were written before the help for the bundled model was made to account for every word of a request. `SEEN` was
looked at while that was written; `HELD_OUT` was run once it was finished. A case without an expected text has no answer
in the shop's data, or none that fits in a line: whatever is answered to it counts as wrong.
"""

from tests.benchmarks.bench_small_model import Case

SEEN = [
    Case("hello", ()),
    Case("Who are our ten best customers?", ()),
    Case("List the suppliers from Germany", ("Rhine Optik",)),
    Case("Which country has the highest sales?", ()),
    Case("How many gold customers do we have?", ("49",)),
    Case("What's the average price of our tents?", ("SELECT avg(price) FROM product WHERE category_id = 1",)),
    Case("How many customers live in Germany or France?", ("140",)),
    Case("How many orders did we get in 2024?", ("SELECT count(*) FROM orders WHERE date LIKE '2024%'",)),
    Case(
        "Which products are out of stock?",
        (
            "SELECT name FROM product WHERE stock = 0 ORDER BY id LIMIT 1",
            "SELECT name FROM product WHERE stock = 0 ORDER BY id DESC LIMIT 1",
        ),
    ),
    Case("How much does it cost to ship a parcel to Japan?", ("31",)),
    Case("What is the warranty on a backpack?", ("10 years",)),
    Case(
        "How many customers have never ordered anything?",
        ("SELECT count(*) FROM customer WHERE id NOT IN (SELECT customer_id FROM orders)",),
    ),
    Case("What was our revenue last year?", ()),
    Case("Count the cancelled orders and tell me what share of all orders that is", ("136", "4.25")),
    Case(
        "Which three employees earn the most?",
        (
            "SELECT name FROM employee ORDER BY salary DESC LIMIT 1",
            "SELECT name FROM employee ORDER BY salary DESC LIMIT 1 OFFSET 1",
            "SELECT name FROM employee ORDER BY salary DESC LIMIT 1 OFFSET 2",
        ),
    ),
    Case("How many customers are there per country?", ()),
    Case("Can I return a climbing rope?", ("cannot be returned",)),
    Case("How many employees do we have in Munich?", ("3",)),
    Case("What is the most expensive product?", ("SELECT name FROM product ORDER BY price DESC LIMIT 1",)),
    Case("If a tent costs 240 dollars, what is it in the winter sale?", ("180",)),
]

HELD_OUT = [
    Case("Hi, can you help me with our shop data?", ()),
    Case(
        "Show me the five cheapest products",
        ("SELECT name FROM product ORDER BY price LIMIT 1", "SELECT name FROM product ORDER BY price LIMIT 1 OFFSET 2"),
    ),
    Case("Which employee sold the most last month?", ()),
    Case(
        "How many silver members joined before 2021?",
        ("SELECT count(*) FROM customer WHERE level = 'silver' AND joined < '2021-01-01'",),
    ),
    Case("How many customers live in Canada?", ("95",)),
    Case("Do we have more customers in Norway or in Sweden?", ("Sweden",)),
    Case("What is the average order value?", ()),
    Case(
        "How many express orders were returned?",
        ("SELECT count(*) FROM orders WHERE shipping = 'express' AND status = 'returned'",),
    ),
    Case("What do we charge for replacing a zip?", ("32",)),
    Case("How many days of holiday does an employee get?", ("27",)),
    Case("Which supplier is based in Oslo?", ("Halden Down",)),
    Case("What percentage of our customers are gold members?", ("6.9",)),
    Case("How many reviews gave one star?", ("SELECT count(*) FROM review WHERE rating = 1",)),
    Case(
        "Who is Callum Reid's manager?",
        ("SELECT name FROM employee WHERE id = (SELECT manager_id FROM employee WHERE name = 'Callum Reid')",),
    ),
    Case("How many products weigh over 2 kilograms?", ("SELECT count(*) FROM product WHERE weight > 2",)),
    Case(
        "What's the total salary of the warehouse staff?",
        ("SELECT sum(salary) FROM employee WHERE title LIKE 'Warehouse%'",),
    ),
    Case("What is 20% of the highest salary?", ("23600",)),
    Case(
        "How many orders were shipped to Australia in 2023?",
        (
            "SELECT count(*) FROM orders WHERE date LIKE '2023%' AND customer_id IN"
            " (SELECT id FROM customer WHERE country = 'Australia')",
        ),
    ),
    Case("What discount does a gold member get on a 300 dollar order?", ("36",)),
    Case("Which products has nobody reviewed, and why?", ()),
]
