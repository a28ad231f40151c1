"""What a query finds, in every script."""

# ruff: noqa: RUF001 - texts in many scripts

import random
from pathlib import Path

import pytest
from langchain_core.tools import ToolException

from plan_execute.tools.documents import Library
from tests.drawn import drawn

TEXTS = {
    "zh.md": """# 退货
退货期限为收到商品之日起三十天。金卡会员可以在九十天之内退货。商品必须保持未使用的状态，并附有完整的吊牌。
攀岩绳和安全带一经拆封就不能退货。每个退货包裹收取六元五角的手续费，费用从退款中扣除。
# 维修
更换拉链需要三十二元，修补帐篷需要二十八元。维修一般在十个工作日之内完成，冬季可能需要更长的时间。
""",
    "ja.md": """# 返品
商品は到着後三十日以内であれば返品できます。ゴールド会員は九十日以内に返品できます。未使用でタグが付いている必要があります。
クライミングロープは開封後に返品することができません。返品一件につき六百円の手数料がかかります。
# 修理
ファスナーの交換は三千二百円です。テントの修理には通常十営業日ほどかかりますが、冬はもっと長くなることがあります。
""",
    "ko.md": """# 반품
상품은 배송 후 삼십일 이내에 반품하실 수 있습니다. 골드 회원은 구십일 이내에 반품하실 수 있습니다.
등반용 로프는 개봉한 후에는 반품할 수 없습니다. 반품 수수료는 소포마다 육천 원이며 환불 금액에서 공제됩니다.
""",
    "th.md": """# การคืนสินค้า
สินค้าสามารถคืนได้ภายในสามสิบวันหลังจากได้รับสินค้า สมาชิกระดับทองสามารถคืนได้ภายในเก้าสิบวัน
เชือกปีนเขาไม่สามารถคืนได้หลังจากเปิดใช้แล้ว ค่าธรรมเนียมการคืนสินค้าสี่สิบบาทต่อพัสดุหนึ่งชิ้น
""",
    "en.md": """# Settings
The field `max_replans` limits cycles; pass `--docs` to name a folder. Requires Python 3.11.2 and C++ or C#.
# Errors
ORA-00942 means that a table is missing, E0425 that a name is unknown, HTTP 404 that nothing is there.
# Others
Crème brûlée at the café. Straße. Ｆｕｌｌｗｉｄｔｈ ﾃﾝﾄ. The C language, version 3.12.1, replans of a max.
# Hindi
किताब की कीमत बीस रुपये है।
""",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    root = tmp_path_factory.mktemp("languages")
    for name, text in TEXTS.items():
        (root / name).write_text(text, "utf-8")
    return Library(root)


@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ("max_replans", "Settings"), ("--docs", "Settings"), ("3.11.2", "Settings"), ("C++", "Settings"),
        ("C#", "Settings"), ("ORA-00942", "Errors"), ("e0425", "Errors"), ("HTTP 404", "Errors"), ("3.12.1", "Others"),
        ("creme brulee", "Others"), ("CAFÉ", "Others"), ("strasse", "Others"), ("fullwidth", "Others"),
        ("ﾌｧｽﾅｰ", "修理"), ("कीमत", "Hindi"), ("limiting cycle", "Settings"), ("拉链", "维修"), ("返", "返品"),
        ("반품은", "반품"), ("ｅ０４２５", "Errors"), ("what does 维修 cost?", "维修"),
    ],
)  # fmt: skip
def test_names_and_other_forms_are_found(library: Library, query: str, heading: str) -> None:
    assert library.search(query)[0].heading == heading


def test_any_string_cut_from_a_text_without_spaces_is_found(library: Library) -> None:
    chance = random.Random(7)
    for name in ("zh.md", "ja.md", "ko.md", "th.md"):
        lines = [line for line in TEXTS[name].splitlines() if not line.startswith("#")]
        for _ in range(100):
            line = chance.choice(lines)
            start = chance.randrange(len(line) - 8)
            cut = line[start : start + chance.randint(3, 20)].strip()
            assert any(cut in found.text for found in library.search(cut)), cut
            drawn("strings cut from Chinese, Japanese, Korean and Thai texts found")


@pytest.mark.parametrize("query", ["", "  ", '"', "--", "\0", "。", "NEAR(", "\ud800", "*", "\u0301"])
def test_a_query_of_nothing_finds_nothing(library: Library, query: str) -> None:
    with pytest.raises(ToolException, match="Nothing found"):
        library.search(query)


def test_a_query_of_small_words_finds_them(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("To be or not.")
    assert Library(tmp_path).search("be to")
