"""A calculator that evaluates arithmetic expressions exactly."""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, DecimalException
from fractions import Fraction

from langchain_core.tools import ToolException, tool

MAX_LENGTH = 1_000
"""Longest expression accepted, in characters."""
MAX_BITS = 10_000
"""Largest numerator or denominator of any intermediate result, in bits: about 3,000 digits."""


@tool
def calculate(expression: str) -> str:
    """Evaluate an arithmetic expression exactly.

    Supports + - * / // % ** and parentheses, percentages, and the functions round(x, digits), abs, min, max, sum, mean,
    sqrt, floor and ceil. Numbers only: put every value into the expression.
    """
    source = _normalize(expression)
    tree = _parse(source)
    values: dict[ast.AST, _Value] = {}
    for node in reversed(list(ast.walk(tree.body))):  # walk() yields parents first, so no recursion is needed
        if not isinstance(node, _OPERATOR_NODES):
            values[node] = _check_size(_evaluate(node, source, values))
    result = values[tree.body]
    if not isinstance(result, Fraction):
        raise ToolException("The result is a list of numbers. Reduce it to one, for example with sum(...) or max(...).")
    return _format(result)


calculate.metadata = {"effect": "read", "trusted": True, "languages": {"expression": "arithmetic"}}

_Value = Fraction | tuple[Fraction, ...]

_PRECISE = Context(prec=50, Emin=-3_000, Emax=3_000)
_OPERATOR_NODES = (ast.operator, ast.unaryop, ast.expr_context)
_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "’": "'"})  # noqa: RUF001 - the typographic signs are the point
_NUMBER = r"\d+(?:\.\d*)?"


def _normalize(expression: str) -> str:
    """Rewrite everyday notation, such as "15% of $1,200 =", as an expression that Python can parse."""
    if len(expression) > MAX_LENGTH:
        raise ToolException(
            f"The expression is longer than {MAX_LENGTH} characters. Split it into several shorter ones."
        )
    text = re.sub(r"\s+", " ", expression.translate(_SIGNS)).strip().removesuffix("?").rstrip(" =")
    text = re.sub(r"[$€£]\s?(?=[\d.])", "", text).replace("^", "**")
    text = re.sub(r"(?<=[\d)]) [xX] (?=[\d(.])", " * ", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", _remove_thousands_separators(text))
    text = re.sub(r"(?<=\d) ?percent\b", "%", text, flags=re.IGNORECASE)
    text = re.sub(rf"({_NUMBER}) ?%(?= ?(?:$|[)+*/,]|of\b)|(?<=\d%) - )", r"percent(\1)", text)
    return re.sub(r"(?<=\)) ?of\b", "*", text)


def _parse(source: str) -> ast.Expression:
    try:
        if source.isascii():  # the parser's offsets count bytes, ours characters
            return ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise ToolException("This is not an arithmetic expression. Use only numbers and operators, such as '3 * (4 + 5)'.")


def _remove_thousands_separators(text: str) -> str:
    """Turn 1,200 into 1200, but leave the commas between the arguments of a function."""
    grouped = r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)"
    if not re.search(r"[a-z] ?\(", text):
        return re.sub(grouped, lambda number: number[0].replace(",", ""), text)
    if ", " in text and re.search(grouped, text):
        raise ToolException("Inside a function, write numbers without thousands separators, such as max(1200, 900).")
    return text


def _evaluate(node: ast.AST, source: str, values: dict[ast.AST, _Value]) -> _Value:
    """Evaluate one node from the values of its children."""
    match node:
        case ast.Constant():
            return _number(source[node.col_offset : node.end_col_offset])
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _scalar(values[operand]) * (-1 if isinstance(sign, ast.USub) else 1)
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
            _refuse_ambiguous_percent(node, values)
            try:
                return Fraction(_OPERATORS[type(op)](_scalar(values[left]), _scalar(values[right])))
            except ZeroDivisionError:
                raise ToolException("The expression divides by zero. Check its numbers.") from None
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            function, most = _FUNCTIONS[name]
            numbers = _flatten(values[argument] for argument in arguments)
            if not 1 <= len(numbers) <= most:
                example = _ROUND if name == "round" else f"{name}(9)"
                raise ToolException(f"Wrong number of arguments for {name}: write, for example, {example}.")
            return Fraction(function(*numbers))
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return _flatten(values[item] for item in items)
        case ast.Name(id=name) if name in _FUNCTIONS:
            return ()
        case ast.Name(id=name):
            raise ToolException(
                f"Unknown name {name[:40]!r}. Write the number itself instead; "
                f"the functions are {', '.join(sorted(_FUNCTIONS))}."
            )
    raise ToolException("The calculator supports only numbers, + - * / // % **, parentheses and its functions.")


def _number(digits: str) -> Fraction:
    try:
        number = Decimal(digits)
    except DecimalException:
        raise ToolException(f"Write a plain number in digits, not {digits[:40]!r}.") from None
    if not number.is_finite() or abs(number.adjusted()) > MAX_BITS // 4:
        raise ToolException(_TOO_LARGE)
    return Fraction(number)


def _scalar(value: _Value) -> Fraction:
    if isinstance(value, Fraction):
        return value
    raise ToolException("Only sum, mean, min and max take a list of numbers. Use one number here.")


def _flatten(values: Iterable[_Value]) -> tuple[Fraction, ...]:
    return tuple(number for value in values for number in (value if isinstance(value, tuple) else (value,)))


def _check_size(value: _Value) -> _Value:
    for number in _flatten([value]):
        if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
            raise ToolException(_TOO_LARGE)
    return value


def _refuse_ambiguous_percent(node: ast.BinOp, values: dict[ast.AST, _Value]) -> None:
    """Refuse "200 + 15%", which could mean 230 or 200.15; "1 - 15%" and "5% + 3%" are unambiguous."""
    percent = [isinstance(side, ast.Call) and ast.unparse(side.func) == "percent" for side in (node.left, node.right)]
    if isinstance(node.op, ast.Add | ast.Sub) and percent == [False, True] and values[node.left] != 1:
        raise ToolException("It is unclear what the percentage refers to. Write it out, such as '200 + 15% of 200'.")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size > 1 and abs(exponent) * (size - 1) > MAX_BITS:
            raise ToolException(_TOO_LARGE)
        return base**exponent.numerator
    if base < 0:
        raise ToolException("The root of a negative number is not a real number. Check the numbers.")
    if exponent == Fraction(1, 2):
        exact = Fraction(math.isqrt(base.numerator), math.isqrt(base.denominator))
        if exact * exact == base:
            return exact
    try:
        return Fraction(_PRECISE.power(_decimal(base), _decimal(exponent)))
    except DecimalException:
        raise ToolException(_TOO_LARGE) from None


def _round(number: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    """Round half away from zero, as is usual on invoices."""
    if digits.denominator != 1 or abs(digits) > 100:
        raise ToolException(f"Give the digits as an integer up to 100, such as {_ROUND}.")
    scale = Fraction(10) ** digits.numerator
    rounded = math.floor(abs(number) * scale + Fraction(1, 2)) / scale
    return rounded if number >= 0 else -rounded


def _decimal(number: Fraction, context: Context = _PRECISE) -> Decimal:
    return context.divide(Decimal(number.numerator), Decimal(number.denominator))


def _format(number: Fraction) -> str:
    """Format integers and short decimals exactly, everything else to 15 significant digits."""
    if number.denominator == 1:
        return str(number.numerator)
    decimal = _decimal(number, Context(prec=28))
    if Fraction(decimal) != number:
        decimal = Context(prec=15).plus(decimal)
    return f"{decimal.normalize():f}" if -10 < decimal.adjusted() < 30 else str(decimal)


_ROUND = "round(3.14159, 2)"
_TOO_LARGE = "The numbers become too large for the calculator. Check the exponents, or use smaller numbers."

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

_FUNCTIONS: dict[str, tuple[Callable[..., Fraction | int], float]] = {
    "round": (_round, 2),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "sqrt": (lambda number: _power(number, Fraction(1, 2)), 1),
    "percent": (lambda number: number / 100, 1),
    "min": (lambda *numbers: min(numbers), math.inf),
    "max": (lambda *numbers: max(numbers), math.inf),
    "sum": (lambda *numbers: sum(numbers), math.inf),
    "mean": (lambda *numbers: sum(numbers) / len(numbers), math.inf),
}
"""The function and the most numbers it takes, by name; each takes at least one."""
