"""What the sample data contain, and that the database is built once and completely."""

import hashlib
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import platformdirs
import pytest

from plan_execute.tools.database import ReadOnlyDatabase
from plan_execute.tools.documents import Library
from plan_execute.tools.sample import VERSION, build_sample_database, sample_database, sample_documents


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "shop.db"
    build_sample_database(path)
    return path


def _rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_tables_are_related_and_filled(shop: Path) -> None:
    schema = ReadOnlyDatabase(shop).schema()
    assert set(schema) == {
        "category", "customer", "employee", "order_item", "orders", "product", "review", "supplier",
    }  # fmt: skip
    assert schema["order_item"]["references"] == {"order_id": "orders.id", "product_id": "product.id"}
    assert _rows(shop, "SELECT COUNT(*) FROM orders") == [(3200,)]
    assert _rows(shop, "PRAGMA foreign_key_check") == []


def test_people_are_distinct_and_time_runs_forward(shop: Path) -> None:
    assert _rows(shop, "SELECT COUNT(*) = COUNT(DISTINCT name) AND COUNT(*) = COUNT(DISTINCT email) FROM customer") == [
        (1,)
    ]
    assert _rows(shop, "SELECT COUNT(*) = COUNT(DISTINCT name) FROM product") == [(1,)]
    early = "SELECT o.id FROM orders o JOIN {0} p ON p.id = o.{0}_id WHERE p.{1} > o.date"
    assert _rows(shop, early.format("customer", "joined")) == []
    assert _rows(shop, early.format("employee", "hired")) == []
    assert _rows(shop, "SELECT r.id FROM review r WHERE r.date > '2025-12-31'") == []


def test_sums_of_prices_are_exact(shop: Path) -> None:
    assert _rows(shop, "SELECT COUNT(*) FROM product WHERE price * 2 <> CAST(price * 2 AS INTEGER)") == [(0,)]


def test_data_belongs_to_its_version(shop: Path) -> None:
    """A change of the data must raise VERSION, because old files stay in users' caches."""
    with closing(sqlite3.connect(shop)) as connection:
        digest = hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()
    assert (VERSION, digest[:16]) == (1, "74db998289d57d59")


def test_database_is_built_once_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if not platformdirs.user_cache_path().is_relative_to(tmp_path):
        pytest.skip("this system keeps its cache elsewhere")
    first = sample_database()
    built = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert (sample_database(), {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}) == (first, built)
    assert list(built) == [f"larkfell-{VERSION}.db"]
    assert ReadOnlyDatabase(first).query("SELECT COUNT(*) FROM employee").rows == [[24]]


def test_builders_at_the_same_time_leave_one_complete_file(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    builders = [threading.Thread(target=build_sample_database, args=(path,)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [found.name for found in tmp_path.iterdir()] == ["shop.db"]
    assert _rows(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    ("question", "document", "fact"),
    [
        ("standard shipping Canada", "shipping.md", "18 dollars per parcel"),
        ("discount gold members", "discounts.md", "12 percent"),
        ("warranty backpacks", "warranty.md", "10 years"),
        ("replace a tent pole", "repairs.md", "28 dollars per pole"),
        ("daily allowance travel", "staff_handbook.md", "62 dollars"),
        ("how long does a water filter last", "product_care.md", "1,500 litres"),
        ("return fee", "returns.md", "6.50 dollars"),
    ],
)
def test_each_document_answers_a_question(question: str, document: str, fact: str) -> None:
    best = Library(sample_documents()).search(question)[0]
    assert best.document == document
    assert fact in best.text
