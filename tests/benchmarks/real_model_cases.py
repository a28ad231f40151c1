# ruff: noqa: E501 - one case a line reads as a table
"""Goals and requests about the sample shop for `bench_real_model`, each with what a right answer must contain.

All of them were written before any of them had been tried, and none was changed or left out afterwards. Prompts,
schemas and parsing were tuned on those under `TUNED`; those under `UNTUNED` were only counted.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """What is asked, and what the answer must contain: figures, words, or SQL that begins with SELECT."""

    text: str
    expected: tuple[str, ...]
    kinds: str = "database"
    """For a goal, the kind of tools that its milestone is granted: database, documents or calculator."""


TUNED_GOALS = [
    Case("Find out how many customers live in Germany.", ("80",)),
    Case("Find the name and the price of the most expensive product.", ("SELECT name FROM product ORDER BY price DESC LIMIT 1", "SELECT max(price) FROM product")),
    Case("Count the cancelled orders.", ("SELECT count(*) FROM orders WHERE status = 'cancelled'",)),
    Case("Calculate 15% of 80.", ("12",), "calculator"),
    Case("Find out what express shipping to Canada costs per parcel.", ("34",), "documents"),
    Case("Find out for how many months gift cards are valid.", ("36",), "documents"),
    Case("Find the average salary of the employees whose title is Sales Advisor.", ("SELECT avg(salary) FROM employee WHERE title = 'Sales Advisor'",)),
    Case("Calculate the price of 12 parcels at 34 dollars each.", ("408",), "calculator"),
]  # fmt: skip
UNTUNED_GOALS = [
    Case("Find out how many customers live in Japan.", ("40",)),
    Case("Find out how many employees work in the London office.", ("SELECT count(*) FROM employee WHERE office = 'London'",)),
    Case("Find the name of the employee with the highest salary, and the salary.", ("Margaret Ellwood", "118000")),
    Case("Count the orders with the status 'returned'.", ("SELECT count(*) FROM orders WHERE status = 'returned'",)),
    Case("Find out how many suppliers come from Norway.", ("SELECT count(*) FROM supplier WHERE country = 'Norway'",)),
    Case("Find the total stock of all products together.", ("SELECT sum(stock) FROM product",)),
    Case("Find out how many products belong to the category Tents.", ("SELECT count(*) FROM product WHERE category_id = 1",)),
    Case("Find the name of the cheapest product.", ("SELECT name FROM product ORDER BY price LIMIT 1",)),
    Case("Count the reviews with a rating of 5.", ("SELECT count(*) FROM review WHERE rating = 5",)),
    Case("Find the city in which the customer Eleanor Barker lives.", ("Manchester",)),
    Case("Find out which country has the most customers, and how many.", ("United States", "160")),
    Case("Find the average rating of all reviews, rounded to two decimals.", ("SELECT round(avg(rating), 2) FROM review",)),
    Case("Count the customers with the level gold.", ("SELECT count(*) FROM customer WHERE level = 'gold'",)),
    Case("Count the orders of the year 2023.", ("SELECT count(*) FROM orders WHERE date LIKE '2023%'",)),
    Case("Find the title of the employee Priya Raman.", ("Head of Sales",)),
    Case("Find out how many orders use express shipping.", ("SELECT count(*) FROM orders WHERE shipping = 'express'",)),
    Case("Find out which supplier comes from the city of Oslo.", ("Halden Down",)),
    Case("Find out how many days gold members have to return goods.", ("90",), "documents"),
    Case("Find out what replacing a zip costs.", ("32",), "documents"),
    Case("Find out how many days of paid holiday employees get after 5 years of service.", ("30",), "documents"),
    Case("Find out for how many years backpacks have a warranty.", ("10",), "documents"),
    Case("Find out at how many degrees a rain jacket is washed.", ("40",), "documents"),
    Case("Find out how many litres a water filter cleans.", ("1,500|1500",), "documents"),
    Case("Find out what standard shipping to Australia costs per parcel.", ("36",), "documents"),
    Case("Find out how much the winter sale reduces tents.", ("25",), "documents"),
    Case("Find out how much a hotel may cost per night on a business trip.", ("145",), "documents"),
    Case("Calculate 37.5 times 46.", ("1725",), "calculator"),
    Case("Calculate what is left of 250 dollars after a discount of 18 percent.", ("205",), "calculator"),
    Case("Calculate the sum of 118000, 86000 and 84000.", ("288000",), "calculator"),
    Case("Calculate 1033 divided by 120, rounded to two decimals.", ("8.61",), "calculator"),
]  # fmt: skip

TUNED_REQUESTS = [
    Case("How many customers live in Germany, and what is 15% of that number?", ("80", "12")),
    Case("What does express shipping to Canada cost, and what do 12 such parcels cost?", ("34", "408")),
    Case("Which product is the most expensive, and what does it cost?", ("SELECT name FROM product ORDER BY price DESC LIMIT 1", "SELECT max(price) FROM product")),
    Case("How many orders were cancelled?", ("SELECT count(*) FROM orders WHERE status = 'cancelled'",)),
    Case("For how long are gift cards valid?", ("36",)),
    Case("What discount do gold members get, and how many gold members are there?", ("12", "SELECT count(*) FROM customer WHERE level = 'gold'")),
    Case("What is the average salary of our sales advisors, and how high is the bonus of 4 percent on it?", ("SELECT avg(salary) FROM employee WHERE title = 'Sales Advisor'", "SELECT avg(salary) * 0.04 FROM employee WHERE title = 'Sales Advisor'")),
    Case("How many employees work in Munich?", ("SELECT count(*) FROM employee WHERE office = 'Munich'",)),
    Case("How long is the warranty on tents, and how many tents do we sell?", ("5", "SELECT count(*) FROM product WHERE category_id = 1")),
    Case("Who earns the least, and how much?", ("SELECT name FROM employee ORDER BY salary LIMIT 1", "SELECT min(salary) FROM employee")),
    Case("What does it cost to patch three sleeping mats?", ("42",)),
    Case("How many customers from France have the level silver?", ("SELECT count(*) FROM customer WHERE country = 'France' AND level = 'silver'",)),
    Case("What are 35 percent off a jacket of 180 dollars?", ("63|117",)),
    Case("Hello, who are you?", ()),
    Case("Which country do most of our suppliers come from?", ("SELECT country FROM supplier GROUP BY country ORDER BY count(*) DESC LIMIT 1",)),
]  # fmt: skip
UNTUNED_REQUESTS = [
    Case("How many customers live in Spain, and what is 20% of that number?", ("30", "6")),
    Case("What does standard shipping to Japan cost, and what do 7 such parcels cost?", ("31", "217")),
    Case("Which employee has the highest salary, and how much is it?", ("Margaret Ellwood", "118000")),
    Case("How many orders are still open?", ("SELECT count(*) FROM orders WHERE status = 'open'",)),
    Case("How long do customers have to return goods?", ("45",)),
    Case("What discount do silver members get, and how many silver members are there?", ("5", "SELECT count(*) FROM customer WHERE level = 'silver'")),
    Case("How many suppliers do we have in Germany, and how many customers?", ("SELECT count(*) FROM supplier WHERE country = 'Germany'", "80")),
    Case("How many employees work in Toronto?", ("SELECT count(*) FROM employee WHERE office = 'Toronto'",)),
    Case("How long is the warranty on jackets, and what does washing and proofing a jacket cost?", ("3", "26")),
    Case("Which product do we have the most of in stock?", ("SELECT name FROM product ORDER BY stock DESC LIMIT 1",)),
    Case("What does it cost to resole four pairs of hiking boots?", ("300",)),
    Case("How many customers joined in 2022?", ("SELECT count(*) FROM customer WHERE joined LIKE '2022%'",)),
    Case("What is the daily allowance for travel, and how much is that for 9 days?", ("62", "558")),
    Case("How many reviews have a rating of 1, and what share of all reviews is that in percent?", ("SELECT count(*) FROM review WHERE rating = 1", "SELECT round(100.0 * sum(rating = 1) / count(*), 1) FROM review")),
    Case("Which city do most of our customers from Canada live in?", ("SELECT city FROM customer WHERE country = 'Canada' GROUP BY city ORDER BY count(*) DESC LIMIT 1",)),
]  # fmt: skip
