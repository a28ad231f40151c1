"""A tool that converts physical units exactly, with the units of Pint."""

import re
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from functools import cache
from threading import RLock
from types import ModuleType
from typing import Any

from langchain_core.tools import ToolException, tool

from plan_execute.tools.characters import spell_out_invisible
from plan_execute.tools.messages import INSTALL_UNITS, did_you_mean

MAX_LENGTH = 100
"""Longest quantity or unit accepted, in characters."""
MAX_PLACES = 300
"""Most places a number may have before or after the decimal point, written out."""


@tool
def convert_units(quantity: str, to: str) -> str:
    """Convert a quantity such as "5 mi", "72 km/h" or "98.6 degF" into another unit, such as "km", "m/s" or "degC".

    Gallons, pints, cups and fluid ounces are those of the USA; those of the UK are imperial_gallon and so on.
    """
    given, target = _plain(quantity), _plain(to)
    number, written = _split(given)
    with _PARSING:  # Pint's registries are not made for several threads
        registry = _registry()
        source_unit, target_unit = _parse(written), _parse(target)
        try:
            # Stricter than dimensions: an angle is none, so that 1 Hz would be 9.5 rpm.
            if registry.get_root_units(source_unit)[1] != registry.get_root_units(target_unit)[1]:
                hint = " For temperatures write degC and degF." if {written, target} & {"C", "F"} else ""
                raise ToolException(f"'{written}' and '{target}' do not measure the same.{hint}")
            result = registry.Quantity(number, source_unit).to(target_unit).magnitude
        except _pint().PintError:
            raise ToolException(
                f"'{written}' cannot be converted into '{target}': write degC and degF alone, or delta_degC within a "
                "compound unit; logarithmic units such as dB are not converted."
            ) from None
    return f"{given} {_format(result)} {target}"


convert_units.metadata = {"effect": "read", "trusted": True}

_PARSING = RLock()
_QUANTITY = re.compile(r"([+-]?(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9})?) ?(\D.*)", re.ASCII)
_FACTOR = re.compile("([A-Za-z\u00b0\u00b5\u03bc\u03a9\u2126\u00c5%_]+(?: [A-Za-z_]+)*)(?:(?:\\^|\\*\\*)?(-?[0-9]))?")
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_SIGNS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u2212\u00b7\u22c5\u00d7", "0123456789--***"
)
_CURRENCY = re.compile(
    r".*[$\u20ac\u00a3\u00a5\u20b9].*|(?:us )?(?:dollar|euro|yen|yuan|rupee|franc|rouble|ruble|peso|pound sterling)s?"
    r"|usd|eur|gbp|jpy|chf|cny|inr|cad|aud|nzd|sek|nok|dkk|pln|brl|mxn|krw|zar|try|rub|btc|eth"
)
_COMMON = ("km", "kilometer", "cm", "centimeter", "mm", "millimeter", "kg", "kilogram", "mg", "mL", "milliliter", "kWh")
_EXACT = Context(prec=28, Emin=-99_999, Emax=99_999, traps=[Inexact])
_ROUNDED = Context(prec=15, Emin=-99_999, Emax=99_999, traps=[])


def _pint() -> ModuleType:
    try:
        import pint  # here, because it is of an extra, and takes a second
    except ImportError:
        raise ToolException(f"Units need one more package: {INSTALL_UNITS}.") from None
    return pint


@cache
def _registry() -> Any:
    return _pint().UnitRegistry(non_int_type=Fraction, cache_folder=None)


def _plain(text: str) -> str:
    if len(text) > MAX_LENGTH:
        raise ToolException(f"The text has {len(text):,} characters; at most {MAX_LENGTH} are read.")
    return spell_out_invisible(" ".join(text.split()), strict=True)


def _split(quantity: str) -> tuple[Fraction, str]:
    found = _QUANTITY.fullmatch(quantity.replace("\u2212", "-"))
    if not found:
        raise ToolException(f"'{quantity}' is no number with a unit: write it like '5 mi' or '1.5e3 km/h'.")
    number = Decimal(found[1].replace(",", ""))
    if number and abs(number.adjusted()) > MAX_PLACES:
        raise ToolException(f"'{found[1]}' is too large or too small: at most {MAX_PLACES} places are read.")
    return Fraction(number), found[2]


def _parse(text: str) -> Any:
    """Read a unit: factors with small exponents, before and after a stroke. Pint is given nothing but names."""
    if _CURRENCY.fullmatch(text.lower()):
        raise ToolException(f"'{text}' is a currency, not a unit: its rate changes and has to be looked up.")
    unit = _registry().Unit("")
    above, *below = re.split(r" ?/ ?| per ", text.translate(_SIGNS))
    for part in below:
        inner = part[1:-1] if part.startswith("(") and part.endswith(")") else part
        for factor in re.split(r" ?(?<!\*)\*(?!\*) ?", inner):
            unit /= _factor(factor, text)
    for factor in re.split(r" ?(?<!\*)\*(?!\*) ?", above):
        if not (below and factor == "1"):
            unit *= _factor(factor, text)
    return unit


def _factor(factor: str, text: str) -> Any:
    found = _FACTOR.fullmatch(factor)
    if not found:
        raise ToolException(f"'{text}' is no unit: write it like km, m/s^2 or kg*m^2/s^2.")
    first, *rest = found[1].split()
    power = _POWERS.get(first.lower(), 1) if rest else 1
    name = "_".join(rest if power > 1 else [first, *rest])
    if name in {"ton", "tons"}:
        raise ToolException("A ton has several weights: write metric_ton, short_ton (US) or long_ton (UK).")
    try:
        return _registry().parse_units(name) ** (power * int(found[2] or 1))
    except (_pint().PintError, AssertionError, ValueError, TypeError):
        hint = did_you_mean(name, [*_COMMON, *_registry()])
        raise ToolException(f"There is no unit '{name}'.{hint}") from None


def _format(value: Fraction) -> str:
    """A number behind a sign that says whether it is exact, which it is where it has at most 28 digits."""
    parts = Decimal(value.numerator), Decimal(value.denominator)
    try:
        sign, number = "=", _EXACT.divide(*parts)
    except Inexact:
        sign, number = "\u2248", _ROUNDED.divide(*parts)
    number = number.normalize(_EXACT)
    return (
        f"{sign} {number:f}"
        if -10 < number.adjusted() < 28
        else f"{sign} {number}".replace("E+", "e").replace("E", "e")
    )
