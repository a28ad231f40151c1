"""The calculator: exact arithmetic on an expression that a model writes."""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, DecimalException
from fractions import Fraction

from langchain_core.tools import ToolException, tool

MAX_LENGTH = 1_000
"""Longest expression, in characters."""
MAX_BITS = 10_000
"""Largest number on the way to a result, in bits: about 3,000 digits."""


@tool
def calculate(expression: str) -> str:
    """Work out an arithmetic expression exactly, for example "(1200 - 15% of 240) / 3".

    Knows + - * / // % ** and parentheses, percentages, and the functions round(x, digits), abs, min, max, sum, mean,
    sqrt, floor and ceil. Numbers only: put every value into the expression.
    """
    source = _tidy(expression)
    tree = _parsed(source)
    values: dict[ast.AST, _Value] = {}
    for node in reversed(list(ast.walk(tree.body))):  # parents come before children in walk(): no recursion here
        if not isinstance(node, _SILENT):
            values[node] = _bounded(_value(node, source, values))
    result = values[tree.body]
    if not isinstance(result, Fraction):
        raise ToolException("The expression gives several numbers. Ask for one, for example with sum(...) or max(...).")
    return _written(result)


calculate.metadata = {"effect": "read", "languages": {"expression": "arithmetic"}}

_Value = Fraction | tuple[Fraction, ...]

_PRECISE = Context(prec=50, Emin=-3_000, Emax=3_000)
_SILENT = (ast.operator, ast.unaryop, ast.expr_context)
_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "’": "'"})  # noqa: RUF001 - the typographic signs are the point
_NUMBER = r"\d+(?:\.\d*)?"


def _tidy(expression: str) -> str:
    """Turn what people write, such as "15% of $1,200 =", into an expression that Python's parser reads."""
    if len(expression) > MAX_LENGTH:
        raise ToolException(
            f"The expression is longer than {MAX_LENGTH} characters. Split it into several shorter ones."
        )
    text = re.sub(r"\s+", " ", expression.translate(_SIGNS)).strip().removesuffix("?").rstrip(" =")
    text = re.sub(r"[$€£]\s?(?=[\d.])", "", text).replace("^", "**")
    text = re.sub(r"(?<=[\d)]) [xX] (?=[\d(.])", " * ", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", _ungrouped(text))
    text = re.sub(r"(?<=\d) ?percent\b", "%", text, flags=re.IGNORECASE)
    text = re.sub(rf"({_NUMBER}) ?%(?= ?(?:$|[)+*/,]|of\b)|(?<=\d%) - )", r"percent(\1)", text)
    return re.sub(r"(?<=\)) ?of\b", "*", text)


def _parsed(source: str) -> ast.Expression:
    try:
        if source.isascii():  # the parser counts in bytes, we in characters
            return ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise ToolException(
        "This is not an arithmetic expression. Write numbers and operators only, such as '3 * (4 + 5)'."
    )


def _ungrouped(text: str) -> str:
    """Take out thousands separators: in 1,200 and 1,000,000, not between the arguments of a function."""
    grouped = r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)"
    if not re.search(r"[a-z] ?\(", text):
        return re.sub(grouped, lambda number: number[0].replace(",", ""), text)
    if ", " in text and re.search(grouped, text):
        raise ToolException("Inside a function write numbers without thousands separators, such as max(1200, 900).")
    return text


def _value(node: ast.AST, source: str, values: dict[ast.AST, _Value]) -> _Value:
    """Evaluate one node whose children have been evaluated."""
    match node:
        case ast.Constant():
            return _number(source[node.col_offset : node.end_col_offset])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_one(values[operand])
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _one(values[operand])
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
            _refuse_ambiguous_percent(node, values)
            try:
                return Fraction(_OPERATORS[type(op)](_one(values[left]), _one(values[right])))
            except ZeroDivisionError:
                raise ToolException("The expression divides by zero. Check the numbers that went into it.") from None
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            numbers = _flat(values[argument] for argument in arguments)
            if not numbers:
                raise ToolException(f"Give {name} at least one number, such as {name}(9).")
            return _FUNCTIONS[name](*numbers)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return _flat(values[item] for item in items)
        case ast.Name(id=name) if name in _FUNCTIONS:
            return ()
        case ast.Name(id=name):
            raise ToolException(
                f"The calculator does not know {name[:40]!r}. Put the number itself in its place; "
                f"functions are {', '.join(sorted(_FUNCTIONS))}."
            )
    raise ToolException("The calculator only knows numbers, + - * / // % **, parentheses and its functions.")


def _number(digits: str) -> Fraction:
    try:
        number = Decimal(digits)
    except DecimalException:
        raise ToolException(f"Write a plain number in digits, not {digits[:40]!r}.") from None
    if not number.is_finite() or abs(number.adjusted()) > MAX_BITS // 4:
        raise ToolException(_TOO_LARGE)
    return Fraction(number)


def _one(value: _Value) -> Fraction:
    if isinstance(value, Fraction):
        return value
    raise ToolException("A list of numbers only goes into sum, mean, min or max.")


def _flat(values: Iterable[_Value]) -> tuple[Fraction, ...]:
    return tuple(number for value in values for number in (value if isinstance(value, tuple) else (value,)))


def _bounded(value: _Value) -> _Value:
    for number in _flat([value]):
        if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
            raise ToolException(_TOO_LARGE)
    return value


def _refuse_ambiguous_percent(node: ast.BinOp, values: dict[ast.AST, _Value]) -> None:
    """Refuse "200 + 15%", which some read as 230 and some as 200.15; "1 - 15%" and "5% + 3%" have one meaning."""
    percent = [isinstance(side, ast.Call) and ast.unparse(side.func) == "percent" for side in (node.left, node.right)]
    if isinstance(node.op, ast.Add | ast.Sub) and percent == [False, True] and values[node.left] != 1:
        raise ToolException("A percentage is added to a number. Say of what: '200 + 15% of 200'.")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size > 1 and abs(exponent) * (size - 1) > MAX_BITS:
            raise ToolException(_TOO_LARGE)
        return base**exponent.numerator
    if base < 0:
        raise ToolException("A root of a negative number is not a real number. Check the numbers that went into it.")
    if exponent == Fraction(1, 2):
        exact = Fraction(math.isqrt(base.numerator), math.isqrt(base.denominator))
        if exact * exact == base:
            return exact
    try:
        return Fraction(_PRECISE.power(_decimal(base), _decimal(exponent)))
    except DecimalException:
        raise ToolException(_TOO_LARGE) from None


def _round(number: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    """Round half away from zero, as people and invoices do."""
    if digits.denominator != 1 or abs(digits) > 100:
        raise ToolException(_ROUND_USAGE)
    scale = Fraction(10) ** digits.numerator
    rounded = math.floor(abs(number) * scale + Fraction(1, 2)) / scale
    return rounded if number >= 0 else -rounded


def _one_argument(name: str, function: Callable[[Fraction], Fraction | int]) -> Callable[..., Fraction]:
    def checked(*numbers: Fraction) -> Fraction:
        if len(numbers) != 1:
            raise ToolException(f"Give {name} one number, such as {name}(9).")
        return Fraction(function(numbers[0]))

    return checked


def _rounded(*numbers: Fraction) -> Fraction:
    if not 1 <= len(numbers) <= 2:
        raise ToolException(_ROUND_USAGE)
    return _round(*numbers)


def _decimal(number: Fraction) -> Decimal:
    return _PRECISE.divide(Decimal(number.numerator), Decimal(number.denominator))


def _written(number: Fraction) -> str:
    """Write integers and short decimals exactly, everything else to 15 significant digits."""
    if number.denominator == 1:
        return str(number.numerator)
    exact = Context(prec=28)
    decimal = exact.divide(Decimal(number.numerator), Decimal(number.denominator))
    if Fraction(decimal) != number:
        decimal = Context(prec=15).plus(decimal)
    return f"{decimal.normalize():f}" if -10 < decimal.adjusted() < 30 else str(decimal)


_ROUND_USAGE = "Give round a number and how many digits to keep, such as round(3.14159, 2)."
_TOO_LARGE = "The numbers become too large for the calculator. Check the exponents, or work with smaller numbers."

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

_FUNCTIONS: dict[str, Callable[..., Fraction]] = {
    "round": _rounded,
    "abs": _one_argument("abs", abs),
    "floor": _one_argument("floor", math.floor),
    "ceil": _one_argument("ceil", math.ceil),
    "sqrt": _one_argument("sqrt", lambda number: _power(number, Fraction(1, 2))),
    "percent": _one_argument("percent", lambda number: number / 100),
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "sum": lambda *numbers: sum(numbers, Fraction(0)),
    "mean": lambda *numbers: sum(numbers, Fraction(0)) / len(numbers),
}
