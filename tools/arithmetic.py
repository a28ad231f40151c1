"""A calculator that evaluates arithmetic expressions exactly."""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, DecimalException, InvalidOperation, Overflow, Subnormal
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
    more, less = (_result(tree, source, nudge) for nudge in (_NUDGE, -_NUDGE))
    if more == less:
        return _format(more)
    if (figure := _format_rounded(more)) != _format_rounded(less):
        raise ToolException("The result depends on more digits of a root than are known. Write it another way.")
    return figure


calculate.metadata = {"effect": "read", "trusted": True, "languages": {"expression": "arithmetic"}}

_Value = Fraction | tuple[Fraction, ...]

_PRECISE = Context(prec=60, Emin=-3_000, Emax=3_000, traps=[InvalidOperation, Overflow, Subnormal])
_NUDGE = Fraction(1, 10**50)
"""What an irrational root may be off by, as a part of it: the result must be the same with more and with less."""
_OPERATOR_NODES = (ast.operator, ast.unaryop, ast.expr_context)
_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "’": "'"})  # noqa: RUF001 - the typographic signs are the point
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_NUMBER = r"\d+(?:\.\d*)?"


def _normalize(expression: str) -> str:
    """Rewrite everyday notation, such as "15% of $1,200 =", as an expression that Python can parse."""
    if len(expression) > MAX_LENGTH:
        raise ToolException(
            f"The expression is longer than {MAX_LENGTH} characters. Split it into several shorter ones."
        )
    text = re.sub(r"\s+", " ", expression.translate(_SIGNS)).strip().removesuffix("?").rstrip(" =")
    text = re.sub(r"[$€£]\s?(?=[\d.])", "", text).replace("^", "**")
    text = re.sub(r"(?<=[\d)%])⁻?[⁰¹²³⁴-⁹]+", lambda power: f"**({power[0].translate(_SUPERSCRIPTS)})", text)
    text = re.sub(r"(?<=[\d)]) [xX] (?=[\d(.])", " * ", text)
    text = re.sub(r"(?<=\d)_(?=\d)", "", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", _remove_thousands_separators(text))
    text = re.sub(r"(?<=\d) ?percent\b", "%", text, flags=re.IGNORECASE)
    if unclear := re.search(rf"\d%(?:\(|-(?! ?{_NUMBER} ?%))", text):
        raise ToolException(
            f"It is unclear what {unclear[0]!r} means. Write a percentage as '15/100', a remainder as '15 % 4'."
        )
    text = re.sub(
        rf"({_NUMBER}) ?%(?= ?(?:$|[)+*/,]|of\b)|(?<=\d%) - | ?- ?{_NUMBER} ?%(?! ?\d))", r"percent(\1)", text
    )
    return re.sub(r"(?<=\)) ?of\b", "*", text)


def _parse(source: str) -> ast.Expression:
    if unknown := re.search(r"[^\x20-\x7e]", source):
        raise ToolException(f"The calculator does not know the character {unknown[0]!a}. {_WRITE}")
    try:
        return ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolException(f"This is not an arithmetic expression. {_WRITE}") from None


def _remove_thousands_separators(text: str) -> str:
    """Turn 1,200 into 1200, but refuse it beside a function, where the comma may stand between two arguments."""
    grouped = r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)"
    if re.search(r"[a-z] ?\(", text) and (unclear := re.search(grouped, text)):
        number = unclear[0].replace(",", "")
        apart = unclear[0].replace(",", ", ")
        raise ToolException(f"It is unclear whether {unclear[0]} is one number. Write {number}, or {apart}.")
    return re.sub(grouped, lambda number: number[0].replace(",", ""), text)


def _result(tree: ast.Expression, source: str, nudge: Fraction) -> Fraction:
    """Evaluate an expression; irrational roots are off by `nudge`, as a part of them."""
    values: dict[ast.AST, _Value] = {}
    for node in reversed(list(ast.walk(tree.body))):  # walk() yields parents first, so no recursion is needed
        if not isinstance(node, _OPERATOR_NODES):
            values[node] = _check_size(_evaluate(node, source, values, nudge))
    result = values[tree.body]
    if not isinstance(result, Fraction):
        raise ToolException("The result is a list of numbers. Reduce it to one, for example with sum(...) or max(...).")
    return result


def _evaluate(node: ast.AST, source: str, values: dict[ast.AST, _Value], nudge: Fraction) -> _Value:
    """Evaluate one node from the values of its children."""
    match node:
        case ast.Constant():
            return _number(source[node.col_offset : node.end_col_offset])
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _scalar(values[operand]) * (-1 if isinstance(sign, ast.USub) else 1)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            return _power(_scalar(values[left]), _scalar(values[right]), nudge)
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
            _refuse_ambiguous_percent(node, values)
            try:
                return Fraction(_OPERATORS[type(op)](_scalar(values[left]), _scalar(values[right])))
            except ZeroDivisionError:
                raise ToolException(_BY_ZERO) from None
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            function, most = _FUNCTIONS[name]
            numbers = _flatten(values[argument] for argument in arguments)
            if not 1 <= len(numbers) <= most:
                example = _ROUND if name == "round" else f"{name}(9)"
                raise ToolException(f"Wrong number of arguments for {name}: write, for example, {example}.")
            return _power(numbers[0], Fraction(1, 2), nudge) if name == "sqrt" else Fraction(function(*numbers))
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
    return Fraction(_without_noise(number))


def _without_noise(number: Decimal) -> Decimal:
    """Take the noise off a number that a computer's floating-point arithmetic left, such as 0.30000000000000004."""
    short = Context(prec=14).plus(number).normalize()
    noisy = len(number.as_tuple().digits) > 14 and number.adjusted() < 14 and len(short.as_tuple().digits) <= 11
    return short if noisy and Decimal(repr(float(number))) == number else number


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


def _add(*numbers: Fraction) -> Fraction:
    total = Fraction(0)
    for number in numbers:
        _check_size(total := total + number)
    return total


def _power(base: Fraction, exponent: Fraction, nudge: Fraction) -> Fraction:
    """Raise to a power: exactly where the result is a fraction, else off by `nudge`, as a part of it."""
    if base == 0 and exponent < 0:
        raise ToolException(_BY_ZERO)
    if exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size > 1 and abs(exponent) * (size - 1) > MAX_BITS:
            raise ToolException(_TOO_LARGE)
        return base**exponent.numerator
    if base < 0:
        raise ToolException("The root of a negative number is not a real number. Check the numbers.")
    if exponent.denominator <= 100:
        degree = exponent.denominator
        exact = Fraction(_integer_root(base.numerator, degree), _integer_root(base.denominator, degree))
        if exact**degree == base:
            return _power(exact, Fraction(exponent.numerator), nudge)
    try:
        return Fraction(_PRECISE.power(_decimal(base), _decimal(exponent))) * (1 + nudge)
    except DecimalException:
        raise ToolException(_TOO_LARGE) from None


def _integer_root(number: int, degree: int) -> int:
    """The largest integer whose power does not exceed a number, by Newton's method."""
    following = 1 << -(-number.bit_length() // degree)
    root = following + 1
    while following < root:
        root = following
        following = ((degree - 1) * root + number // root ** (degree - 1)) // degree if root else 0
    return root


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
    """Format integers and short decimals exactly, everything else rounded."""
    if number.denominator == 1:
        return str(number.numerator)
    decimal = _decimal(number, Context(prec=28))
    if Fraction(decimal) != number:
        return _format_rounded(number)
    return f"{decimal.normalize():f}" if -10 < decimal.adjusted() < 30 else str(decimal)


def _format_rounded(number: Fraction) -> str:
    """Format a number to 15 significant digits, without zeros behind them that would look exact."""
    decimal = Context(prec=15).plus(_decimal(number)).normalize()
    return f"{decimal:f}" if -10 < decimal.adjusted() < 15 else str(decimal)


_WRITE = "Use only numbers and operators, such as '3 * (4 + 5)'."
_BY_ZERO = "The expression divides by zero. Check its numbers."
_ROUND = "round(3.14159, 2)"
_TOO_LARGE = "The numbers become too large for the calculator. Check the exponents, or use smaller numbers."

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

_FUNCTIONS: dict[str, tuple[Callable[..., Fraction | int], float]] = {
    "round": (_round, 2),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "sqrt": (abs, 1),  # of which `_evaluate` takes the root
    "percent": (lambda number: number / 100, 1),
    "min": (lambda *numbers: min(numbers), math.inf),
    "max": (lambda *numbers: max(numbers), math.inf),
    "sum": (_add, math.inf),
    "mean": (lambda *numbers: _add(*numbers) / len(numbers), math.inf),
}
"""The function and the most numbers it takes, by name; each takes at least one."""
