"""Attacks on databases: each is refused, and nothing changes; pytest prints how many were tried."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from plan_execute.tools.database import ReadOnlyDatabase
from plan_execute.tools.database.statement import read_query
from tests.drawn import drawn

SECRET = "canary-5f3a"

WRITES = [
    "INSERT INTO customer VALUES (9, 'Eve', 'Peru')",
    "UPDATE customer SET name = 'x'",
    "DELETE FROM customer",
    "TRUNCATE TABLE customer",
    "DROP TABLE customer",
    "ALTER TABLE customer ADD COLUMN x int",
    "CREATE TABLE x (a int)",
    "CREATE TABLE x AS SELECT 1",
    "CREATE VIEW x AS SELECT 1",
    "CREATE INDEX x ON customer (name)",
    "MERGE INTO customer USING customer c ON true WHEN MATCHED THEN DELETE",
    "REPLACE INTO customer VALUES (1, 'Eve', 'Peru')",
    "SELECT 1; DROP TABLE customer",
    "SELECT 1; COMMIT; DROP TABLE customer",
    "SELECT * INTO other FROM customer",
    "SELECT * FROM customer FOR UPDATE",
    "WITH gone AS (DELETE FROM customer RETURNING *) SELECT * FROM gone",
    "WITH gone AS (UPDATE customer SET name = 'x' RETURNING *) SELECT * FROM gone",
    "EXPLAIN ANALYZE DELETE FROM customer",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "CALL x()",
    "DO $$ BEGIN DELETE FROM customer; END $$",
    "VACUUM",
    "GRANT ALL ON customer TO reader",
    "PREPARE x AS DELETE FROM customer",
    "EXECUTE x",
    "DECLARE x CURSOR FOR SELECT 1",
    "LOCK TABLE customer",
    "SET ROLE postgres",
    "RESET ROLE",
]

CALLS = {
    "postgresql": [
        "pg_read_file('{file}')",
        "pg_read_binary_file('{file}')",
        "pg_ls_dir('/')",
        "pg_stat_file('{file}')",
        "pg_sleep(60)",
        "pg_sleep_for('1 minute')",
        "pg_terminate_backend(1)",
        "pg_cancel_backend(1)",
        "pg_reload_conf()",
        "pg_rotate_logfile()",
        "pg_switch_wal()",
        "pg_advisory_lock(1)",
        "pg_notify('a', 'b')",
        "pg_logical_emit_message(true, 'a', 'b')",
        "lo_import('{file}')",
        "lo_export(1, '{file}')",
        "lo_create(1)",
        "lo_get(1)",
        "dblink('dbname=postgres', 'DROP TABLE customer')",
        "dblink_exec('dbname=postgres', 'DROP TABLE customer')",
        "query_to_xml('DELETE FROM customer', true, true, '')",
        "query_to_xml_and_xmlschema('SELECT 1', true, true, '')",
        "table_to_xml('hidden', true, true, '')",
        "schema_to_xml('public', true, true, '')",
        "database_to_xml(true, true, '')",
        "cursor_to_xml('a', 1, true, true, '')",
        "ts_stat('SELECT 1')",
        "ts_rewrite('a'::tsquery, 'SELECT 1')",
        "crosstab('SELECT 1')",
        "connectby('a', 'b', 'c', 'd', 0)",
        "xpath_table('a', 'b', 'customer', 'c', 'true')",
        "set_config('role', 'postgres', false)",
        "current_setting('data_directory')",
        "nextval('counter')",
        "setval('counter', 9)",
        "currval('counter')",
        "inet_server_addr()",
        "has_table_privilege('hidden', 'SELECT')",
        "to_regclass('hidden')",
        "pg_get_viewdef('x')",
        "txid_current()",
        "brin_summarize_new_values('x')",
        "repeat('x', 1000000000)",
        "lpad('x', 1000000000)",
        "U&\"\\0070g_read_file\"('{file}')",
        "pg_catalog.pg_read_file('{file}')",
        "\"pg_read_file\"('{file}')",
        '"pg_catalog"."pg_read_file"(\'{file}\')',
        "evil.upper('a')",
        "OPERATOR(pg_catalog.+) 1",
    ],
    "mariadb": [
        "load_file('{file}')",
        "sleep(60)",
        "benchmark(1000000000, md5('a'))",
        "get_lock('a', 60)",
        "release_lock('a')",
        "sys_exec('id')",
        "sys_eval('id')",
        "master_pos_wait('a', 1, 60)",
        "nextval(counter)",
        "setval(counter, 9)",
        "lastval(counter)",
        "updatexml(1, concat(0x7e, user()), 1)",
        "extractvalue(1, concat(0x7e, user()))",
        "`sleep`(60)",
        "other.f(1)",
        "1 DIV sleep(60)",
        "1 XOR sleep(60)",
        "repeat('x', 1000000000)",
        "space(1000000000)",
    ],
    "duckdb": [
        "getenv('HOME')",
        "current_setting('memory_limit')",
        "query('SELECT 1')",
        "query_table('customer')",
        "read_text('{file}')",
        "read_blob('{file}')",
        "read_csv('{file}')",
        "read_csv_auto('{file}')",
        "read_parquet('{file}')",
        "parquet_scan('{file}')",
        "read_json_auto('{file}')",
        "glob('/*')",
        "sniff_csv('{file}')",
        "duckdb_secrets()",
        "duckdb_settings()",
        "pragma_database_list()",
        "which_secret('a', 'b')",
        "nextval('counter')",
        "json_execute_serialized_sql('{{}}')",
        "sqlite_scan('{file}', 'a')",
        "postgres_scan('a', 'b', 'c')",
        "write_log('a')",
        "set_config('a', 'b')",
        "repeat('x', 1000000000)",
    ],
}

PLACES = {
    "postgresql": [
        "pg_shadow",
        "pg_catalog.pg_authid",
        "information_schema.tables",
        "pg_settings",
        "pg_stat_activity",
        "hidden",
        "public.hidden",
        'U&"\\0070g_shadow"',
        "(WITH pg_shadow AS (SELECT 1) SELECT * FROM pg_shadow) x, pg_shadow",
        "(SELECT 1) pg_shadow, pg_shadow AS b",
    ],
    "mariadb": ["mysql.user", "information_schema.tables", "performance_schema.threads", "sys.session", "hidden"],
    "duckdb": ["'{file}'", '"{file}"', "duckdb_settings", "information_schema.tables", "sqlite_master", "hidden"],
    "sqlite": ["pragma_database_list", "pragma_table_info('customer')", "dbstat", "hidden", "other.customer"],
}

WORDS = """
SELECT FROM WHERE customer name id , ( ) * ; -- /* */ /*! /*+ ' " ` $$ U& E' = || UNION WITH a AS RECURSIVE INTO DELETE
DROP TABLE pg_read_file load_file read_text '/etc/hostname' 1 0x41 . :: [ ] { } \\ # @@ \x00 é 'Peru' JOIN ON ORDER BY
GROUP LIMIT COUNT sum upper repeat lower EXISTS CASE WHEN THEN END NOT NULL IN LIKE '%' % ? :x $1 &
"""


def variants(sql: str) -> Iterator[str]:
    """The same statement, written and nested in other ways."""
    yield sql
    yield sql.replace("(", " /* a */ (")
    yield sql.replace(" ", "\n\t")
    yield f"-- a\n{sql} -- b"
    yield f"({sql})"
    if sql.startswith(("SELECT", "WITH")) and ";" not in sql:
        yield f"SELECT * FROM ({sql}) AS x"
        yield f"WITH x AS ({sql}) SELECT * FROM x"
        yield f"SELECT 1 WHERE EXISTS ({sql})"
        yield f"SELECT 1 UNION ALL {sql}"


def attacks(dialect: str, file: Path) -> list[str]:
    calls = [call.format(file=file) for call in CALLS.get(dialect, ())]
    places = [place.format(file=file) for place in PLACES[dialect]]
    plain = [
        *WRITES,
        *(f"SELECT {call}" for call in calls),
        *(f"SELECT * FROM {call}" for call in calls),
        *(f"SELECT name FROM customer ORDER BY {call}" for call in calls),
        *(f"SELECT * FROM customer c JOIN LATERAL {call} AS x ON true" for call in calls),
        *(f"SELECT CASE WHEN {call} IS NULL THEN 1 END FROM customer" for call in calls),
        *(f"SELECT * FROM {place}" for place in places),
        *(f"SELECT (SELECT COUNT(*) FROM {place})" for place in places),
    ]
    return [variant for sql in plain for variant in variants(sql)]


def try_all(database: ReadOnlyDatabase, dialect: str, file: Path) -> None:
    file.write_text(SECRET)
    tried = attacks(dialect, file)
    passed = []
    for sql in tried:
        with suppress(ToolException):
            passed.append((sql, database.query(sql)))
    assert passed == []
    drawn(f"attacks on {database.dialect} refused", len(tried))


def rows_of(database: ReadOnlyDatabase) -> Any:
    return database.query("SELECT COUNT(*), MIN(name), MAX(name) FROM customer").rows


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A SQLite database; the test fails if a byte of it changes, or a file appears beside it."""
    folder = tmp_path / "shop"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executescript(
            "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, country TEXT);"
            "INSERT INTO customer VALUES (1, 'Ann', 'Peru'), (2, 'Bob', 'Chile');"
        )
    before = hashlib.sha256((folder / "shop.db").read_bytes()).digest()
    yield folder / "shop.db"
    assert hashlib.sha256((folder / "shop.db").read_bytes()).digest() == before
    assert [file.name for file in folder.iterdir()] == ["shop.db"]


def test_attacks_on_sqlite(shop: Path, tmp_path: Path) -> None:
    try_all(ReadOnlyDatabase(shop), "sqlite", tmp_path / "secret")


def test_attacks_on_duckdb(shop: Path, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE customer AS SELECT 1 AS id, 'Ann' AS name, 'Peru' AS country")
    before = path.read_bytes()
    database = ReadOnlyDatabase(path)
    try_all(database, "duckdb", tmp_path / "secret.csv")
    assert rows_of(database) == [[1, "Ann", "Ann"]]
    assert path.read_bytes() == before


def test_attacks_on_postgres(postgres_reader: str, tmp_path: Path) -> None:
    database = ReadOnlyDatabase(postgres_reader)
    before = rows_of(database)
    try_all(database, "postgresql", tmp_path / "secret")
    assert rows_of(database) == before


def test_attacks_on_mariadb(mariadb_reader: str, tmp_path: Path) -> None:
    database = ReadOnlyDatabase(mariadb_reader)
    before = rows_of(database)
    try_all(database, "mariadb", tmp_path / "secret")
    assert rows_of(database) == before


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb", "duckdb"])
def test_calls_are_refused_before_a_server_is_asked(dialect: str, tmp_path: Path) -> None:
    for call in CALLS[dialect]:
        for sql in variants(f"SELECT {call.format(file=tmp_path)}"):
            with pytest.raises(ToolException):
                read_query(sql, dialect)


@cache
def _opened(path: Path) -> ReadOnlyDatabase:
    return ReadOnlyDatabase(path, seconds=5)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(WORDS.split()), max_size=25))
def test_whatever_is_asked_changes_nothing(shop: Path, words: list[str]) -> None:
    sql = "SELECT " + " ".join(words)
    with suppress(ToolException):
        _opened(shop).query(sql)
    for dialect in ("postgresql", "mariadb", "duckdb", "sqlite"):
        with suppress(ToolException):
            query = read_query(sql, dialect)
            assert read_query(query.sql, dialect).sql == query.sql  # what was read once is read as the same again
    drawn("queries of random words that changed nothing")
