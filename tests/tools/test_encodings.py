"""Texts are read in the encoding that they are written in."""

# ruff: noqa: RUF001, E501 - texts in many scripts

import codecs

import pytest

from plan_execute.tools.encodings import decode, detect_encoding
from tests.drawn import drawn

TEXTS = {
    "western": "Der Preis für das Rückporto beträgt 6,50 € – auch für Gäste.\nLes élèves reçoivent une réponse à la fin.",
    "russian": "Возврат товара возможен в течение тридцати дней.",
    "japanese": "返品は到着後三十日以内にお送りください。\n送料は六百円です。",
    "simplified": "退货期限为三十天，运费由顾客承担。\n请在三十天内退回商品。",
    "traditional": "退貨期限為三十天，運費由顧客承擔。\n請在三十天內退回商品。",
    "korean": "반품은 도착 후 30일 이내에 보내 주십시오.\n배송비는 삼천 원입니다.",
    "thai": "สินค้าสามารถคืนได้ภายในสามสิบวัน\nค่าส่งสี่สิบบาท",
}
WIDE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
OLDER = {
    "western": ["cp1252", "latin-1"],
    "russian": ["cp1251"],
    "japanese": ["shift_jis", "euc_jp"],
    "simplified": ["gb18030", "gb2312"],
    "traditional": ["big5"],
    "korean": ["euc_kr"],
    "thai": ["tis_620"],
}


@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize(
    ("language", "encoding"),
    [(language, encoding) for language in TEXTS for encoding in [*WIDE, *OLDER[language]]],
)
def test_encodings(language: str, encoding: str, times: int) -> None:
    text = TEXTS[language].replace("€ –" if encoding == "latin-1" else "\0", "EUR -") + "\n"
    assert decode((text * times).encode(encoding)) == text * times
    assert decode(("ASCII first. " * 1_000 + text * times).encode(encoding)).endswith(text * times)
    drawn("texts in the encodings of seven languages decoded", 2)


@pytest.mark.parametrize(
    ("language", "encoding"), [(language, encoding) for language in OLDER for encoding in OLDER[language]]
)
def test_long_texts_are_told_by_a_sample(language: str, encoding: str) -> None:
    text = TEXTS[language].replace("€ –", "EUR -") + "\n"
    for shift in range(4):
        long = "x" * shift + text * (150_000 // len(text.encode(encoding)))
        assert decode(long.encode(encoding)) == long
        drawn("texts in the encodings of seven languages decoded")


def test_short_texts_that_could_be_anything_do_no_harm() -> None:
    assert decode(b"") == ""
    assert decode(b"caf\xe9") == "café"
    assert decode(codecs.BOM_UTF16_LE) == ""
    assert decode("Für die Straß".encode()[:-1]) == "Für die Stra\ufffd"
    assert decode(b"A log\0 with a zero or two\0 in it") == "A log\0 with a zero or two\0 in it"
    assert detect_encoding(bytes(range(256))) != ""
