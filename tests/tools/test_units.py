"""Conversions are right to the last digit, and what is no quantity or no unit is refused with a sentence."""

import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from plan_execute.tools import convert_units
from tests.drawn import drawn

pytest.importorskip("pint")

EXACT = """
1 inch = 2.54 cm | 1 ft = 0.3048 m | 1 yd = 0.9144 m | 5 mi = 8.04672 km | 1 nautical mile = 1.852 km
1 thou = 25.4 µm
26.2 mi = 42164.8128 m | 6 feet = 182.88 cm | 1 light_year = 9460730472580.8 km | 1 Å = 0.1 nm | 1 km = 1000000 mm
1 au = 149597870700 m | 1 m = 0.000001 Mm | 100 mm = 0.1 m | 3 dm = 30 cm
1 lb = 0.45359237 kg | 1 oz = 28.349523125 g | 1 stone = 6.35029318 kg | 1 short_ton = 907.18474 kg
1 long_ton = 1016.0469088 kg | 1 metric_ton = 1000 kg | 1 t = 1000000 g | 1 carat = 200 mg
1 troy_ounce = 31.1034768 g
1 grain = 64.79891 mg | 150 lbs = 68.0388555 kg
2.5 kg = 2500 g
1 gallon = 3.785411784 L | 1 quart = 0.946352946 L | 1 pint = 473.176473 mL | 1 cup = 236.5882365 mL
1 fluid ounce = 29.5735295625 mL | 1 tablespoon = 14.78676478125 mL | 1 teaspoon = 4.92892159375 mL
1 imperial_gallon = 4.54609 L | 1 imperial_pint = 568.26125 mL | 1 L = 1000 cm^3 | 1 m³ = 1000 L
1 oil_bbl = 158.987294928 L | 1 cubic foot = 28.316846592 L | 1 cc = 1 mL
1 square mile = 2.589988110336 km^2 | 2 square feet = 0.18580608 m² | 1 hectare = 10000 m^2 | 1 km^2 = 100 ha
60 mph = 26.8224 m/s | 72 km/h = 20 m/s | 1 knot = 1.852 km/h | 60 miles per hour = 96.56064 kph
10 m/s = 36 km/h | 1 atm = 101325 Pa | 1 bar = 100 kPa | 760 torr = 1 atm | 2 kPa = 20 mbar
1 kWh = 3.6 MJ | 1 cal = 4.184 J | 500 kcal = 2092 kJ | 1 eV = 1.602176634e-19 J | 1 BTU = 1055.056 J
1 erg = 0.0000001 J
1 N = 100000 dyne | 1 lbf = 4.4482216152605 N | 1 kgf = 9.80665 N | 10 in*lbf = 1.129848290276167 N*m
1 W = 1 J/s | 1 hp = 745.69987158227022 W | 1 kW = 1000 J/s | 1 metric_horsepower = 735.49875 W
1 V*A = 1 W
1 ohm = 1 V/A | 1 A*h = 3600 C
1 KiB = 1024 B | 1 B = 8 bit | 1 GB = 8000 Mbit | 1 GiB = 1073741824 bytes | 100 Mbit/s = 12.5 MB/s
1 day = 86400 s | 90 min = 1.5 hours | 1 week = 168 h | 1 year = 365.25 days | 1 ms = 1000 µs | 1 GHz = 1000000000 Hz
100 degC = 212 degF | 98.6 degF = 37 degC | -40 °C = -40 °F | 0 degC = 273.15 K | 0 K = -459.67 degF
300 K = 26.85 celsius
1 J/(kg*K) = 0.001 kJ/kg/K | 1 g/cm^3 = 1000 kg/m^3 | 1 kg*m^2/s^2 = 1 J | 9.80665 m/s^2 = 1 standard_gravity
1 turn = 360 degrees
50 % = 0.5 dimensionless | 1 % = 10000 ppm | 1,200 km = 1200000 m | 1.5e3 m = 1.5 km | .5 km = 500 m | -3 m = -300 cm
1e300 Qm = 1e360 qm | 0 m = 0 ft
"""
ROUNDED = """
1 km ≈ 0.621371192237334 mi | 1 kg ≈ 2.20462262184878 lb | 1 psi ≈ 6894.75729316836 Pa
1 L ≈ 0.264172052358148 gallon
1 degree ≈ 0.0174532925199433 rad | 1 rpm ≈ 0.104719755119660 rad/s
1 m/s ≈ 2.23693629205440 mph
1 degF ≈ 255.927777777778 K | 1 mile ≈ 0.868976241900648 nautical_mile | 1 m ≈ 3.28083989501312 ft
1 mi/h ≈ 0.868976241900648 knot
"""


def ask(quantity: str, to: str) -> str:
    return str(convert_units.invoke({"quantity": quantity, "to": to}))


@pytest.mark.parametrize("table", [EXACT, ROUNDED])
def test_conversions_are_right(table: str) -> None:
    wrong = []
    lines = [line.strip() for line in table.replace("\n", "|").split("|") if line.strip()]
    for line in lines:
        sign = " = " if " = " in line else " ≈ "
        quantity, result = line.split(sign)
        number, unit = result.split(" ", 1)
        if sign == " ≈ ":
            number = f"{float(number):.15g}"
        if (said := ask(quantity, unit)) != f"{quantity}{sign}{number} {unit}":
            wrong.append((line, said))
    assert wrong == []
    drawn("conversions that are right to the last digit", len(lines))


@pytest.mark.parametrize(
    ("quantity", "to", "said"),
    [
        ("5", "km", "'5' is no number with a unit"),
        ("", "km", "'' is no number with a unit"),
        ("mi", "km", "is no number with a unit"),
        ("1/2 mi", "km", "'/2 mi' is no unit"),
        ("5,3 mi", "km", "',3 mi' is no unit"),
        ("1 m", "s", r"'m' and 's' do not measure the same\."),
        ("1 Hz", "rpm", "do not measure the same"),
        ("1 lb", "N", "do not measure the same"),
        ("30 C", "F", "do not measure the same. For temperatures write degC and degF"),
        ("1 degC*m", "K*m", "write degC and degF alone, or delta_degC"),
        ("1 kilomter", "m", "There is no unit 'kilomter'. Did you mean 'kilometer'"),
        ("1 KM", "m", "There is no unit 'KM'. Did you mean 'km'"),
        ("1 ton", "kg", "A ton has several weights: write metric_ton"),
        ("1 kg", "tons", "A ton has several weights"),
        ("10 USD", "EUR", "'USD' is a currency, not a unit"),
        ("10 m", "$", "is a currency"),
        ("10 €", "m", "is a currency"),
        ("10 dollars", "euros", "is a currency"),
        ("9**9**9 m", "km", "is no unit"),
        ("1 m**9**9**9", "km", "is no unit"),
        ("1 m^9^9", "km", "is no unit"),
        ("1 m^99", "km", "is no unit"),
        ("1e999999 m", "km", "too large or too small: at most 300"),
        ("1e999999999 m", "km", "too large or too small"),
        ("1e-301 m", "km", "too large or too small"),
        ("1e9999999999 m", "km", "is no unit|is no number"),
        ("(" * 100_000, "m", "has 100,000 characters; at most 100"),
        ("1 " + "(" * 90 + "m", "m", "is no unit"),
        ("1 m", "(" * 90, "is no unit"),
        ("1 m", "m*" * 49 + "(", "is no unit"),
        ("1 __import__('os')", "m", "is no unit"),
        ("1 __import__", "m", "There is no unit '__import__'"),
        ("1 __class__", "m", "There is no unit"),
        ("__import__('os').system('true')", "m", "is no number"),
        ("1 m", "m.__class__", "is no unit"),
        ("1 m", "lambda: 0", "is no unit"),
        ("1 m", "exec", "There is no unit"),
        ("nan m", "km", "is no number"),
        ("inf m", "km", "is no number"),
        ("1 nan", "km", "There is no unit"),
        ("1 inf", "km", "There is no unit"),
        ("0x10 m", "km", "There is no unit|is no unit"),
        ("1_000 m", "km", "There is no unit|is no unit"),
        ("\u0661 m", "km", "is no number"),
        ("1 m\u200b", "km", r"'m\\u200b' is no unit"),
        ("1 \U0001f600", "km", "is no unit"),
        ("1 m\x00", "km", r"'m\\x00' is no unit"),
        ("1 \u2032", "m", "is no unit"),
        ("1 m;m", "km", "is no unit"),
        ("1 m/", "km", "is no unit"),
        ("1 m", "", "is no unit"),
        ("1 m", "1", "is no unit"),
    ],
)  # fmt: skip
def test_what_is_no_quantity_or_unit_is_refused_with_a_sentence(quantity: str, to: str, said: str) -> None:
    with pytest.raises(ToolException, match=said) as refusal:
        ask(quantity, to)
    assert len(str(refusal.value)) < 300
    drawn("hostile and unclear quantities refused")


UNITS = [
    "m",
    "km",
    "s",
    "kg",
    "K",
    "degC",
    "V",
    "%",
    "rad",
    "dB",
    "Qm",
    "pH",
    "square",
    "per",
    "cubic",
    "in",
    "is",
    "as",
]
TEXTS = st.text(max_size=20) | st.lists(
    st.sampled_from([*UNITS, "*", "/", "^", "**", "9", "-1", "(", ")", " ", "1"])
).map("".join)


@given(st.one_of(TEXTS, TEXTS.map(lambda text: f"3 {text}")), TEXTS)
def test_any_text_is_safe(quantity: str, to: str) -> None:
    with suppress(ToolException):
        ask(quantity, to)
    for unit in (to, quantity.removeprefix("3 ")):
        with suppress(ToolException):
            ask(f"7 {unit}", unit)
    drawn("quantities of random parts converted or refused", 3)


def test_threads_convert_together() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: ask("5 mi", "km"), range(40))) == {"5 mi = 8.04672 km"}


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pint", None)
    monkeypatch.delitem(sys.modules, "plan_execute.tools.units")
    tool = runpy.run_module("plan_execute.tools.units")["convert_units"]
    with pytest.raises(ToolException, match=r"Units need one more package: pip install '\.\[units\]' in a clone"):
        tool.invoke({"quantity": "5 mi", "to": "km"})
