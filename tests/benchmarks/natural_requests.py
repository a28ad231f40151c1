"""Requests as people type them, about the sample shop: what the bundled model may answer rightly or refuse, never wrongly.

They were written before the help for the bundled model was made to account for every word of a request. `SEEN` was
looked at while that was written; `HELD_OUT` was run once it was finished. A case without an expected text has no answer
in the shop's data, or none that the compact forms can look up: whatever is answered to it is wrong.
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
    Case("Which products are out of stock?", ()),
    Case("How much does it cost to ship a parcel to Japan?", ("31",)),
    Case("What is the warranty on a backpack?", ("10 years",)),
    Case("How many customers have never ordered anything?", ()),
    Case("What was our revenue last year?", ()),
    Case("Count the cancelled orders and tell me what share of all orders that is", ()),
    Case("Which three employees earn the most?", ()),
    Case("How many customers are there per country?", ()),
    Case("Can I return a climbing rope?", ("cannot be returned",)),
    Case("How many employees do we have in Munich?", ("3",)),
    Case("What is the most expensive product?", ("SELECT name FROM product ORDER BY price DESC LIMIT 1",)),
    Case("If a tent costs 240 dollars, what is it in the winter sale?", ("180",)),
]

HELD_OUT = [
    Case("Hi, can you help me with our shop data?", ()),
    Case("Show me the five cheapest products", ()),
    Case("Which employee sold the most last month?", ()),
    Case("How many silver members joined before 2021?", ()),
    Case("How many customers live in Canada?", ("95",)),
    Case("Do we have more customers in Norway or in Sweden?", ()),
    Case("What is the average order value?", ()),
    Case("How many express orders were returned?", ()),
    Case("What do we charge for replacing a zip?", ("32",)),
    Case("How many days of holiday does an employee get?", ("27",)),
    Case("Which supplier is based in Oslo?", ("Halden Down",)),
    Case("What percentage of our customers are gold members?", ()),
    Case("How many reviews gave one star?", ()),
    Case("Who is Callum Reid's manager?", ()),
    Case("How many products weigh over 2 kilograms?", ("SELECT count(*) FROM product WHERE weight > 2",)),
    Case("What's the total salary of the warehouse staff?", ()),
    Case("What is 20% of the highest salary?", ("23600",)),
    Case("How many orders were shipped to Australia in 2023?", ()),
    Case("What discount does a gold member get on a 300 dollar order?", ()),
    Case("Which products has nobody reviewed, and why?", ()),
]
