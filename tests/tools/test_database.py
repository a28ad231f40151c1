"""What the database tools return, and that no query changes the database."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools.database import MAX_OUTPUT, ReadOnlyDatabase, database_tools
from plan_execute.tools.database.statement import read_query


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The database of a small shop; the test fails if it changes the file."""
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, country TEXT);
        CREATE TABLE orders (
            id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer (id),
            total NUMERIC, status TEXT, note BLOB);
        CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 10;
        CREATE VIEW broken AS SELECT * FROM nowhere;
        INSERT INTO customer VALUES (1, 'Ann', 'Canada'), (2, 'Bob', 'Peru'), (3, 'Cid', 'Canada');
        INSERT INTO orders VALUES (1, 1, 12.5, 'open', x'00ff'), (2, 1, 7, 'shipped', NULL), (3, 2, 99, 'open', NULL);
        """
    )
    connection.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    yield path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [found.name for found in tmp_path.iterdir()] == ["shop.db"]


@pytest.fixture
def database(path: Path) -> ReadOnlyDatabase:
    return ReadOnlyDatabase(path, max_rows=5, seconds=60)


def _tool(database: ReadOnlyDatabase, name: str) -> BaseTool:
    return next(tool for tool in database_tools(database) if tool.name == name)


def test_tools_show_tables_columns_foreign_keys_and_rows(path: Path) -> None:
    list_tables, describe_tables, _ = database_tools(str(path))
    assert list_tables.invoke({}) == "customer, orders, big_orders"
    described = describe_tables.invoke({"names": ["orders"]})
    assert described.startswith("orders: id INTEGER, customer_id INTEGER, total NUMERIC, status TEXT, note BLOB\n")
    assert "orders.customer_id = customer.id\n" in described
    assert '{"id": 1, "customer_id": 1, "total": 12.5, "status": "open", "note": "(2 bytes)"}' in described


def test_query_returns_rows_as_json(database: ReadOnlyDatabase) -> None:
    query = _tool(database, "query_database")
    assert query.invoke({"sql": "SELECT COUNT(*) AS count FROM orders"}) == '[{"count": 3}]'
    joined = query.invoke(
        {"sql": "SELECT c.id, o.id, total FROM orders o JOIN customer c ON c.id = customer_id WHERE name LIKE 'A%';"}
    )
    assert json.loads(joined) == [{"id": 1, "id_2": 1, "total": 12.5}, {"id": 1, "id_2": 2, "total": 7}]


def test_metadata_tells_effect_language_and_schema(database: ReadOnlyDatabase) -> None:
    query = _tool(database, "query_database")
    assert query.metadata == {"effect": "read", "languages": {"sql": "sql"}, "schema": database.schema()}
    assert database.schema()["customer"] == {
        "columns": {"id": "INTEGER", "name": "TEXT", "country": "TEXT"},
        "references": {},
    }
    assert "SQLite with the tables customer(id, name, country), orders(id" in query.description


def test_rows_of_an_unknown_table_are_refused(database: ReadOnlyDatabase) -> None:
    assert database.rows("orders", 2).more
    with pytest.raises(ToolException, match="no table 'x; DROP"):
        database.rows("x; DROP TABLE customer")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO customer VALUES (9, 'Eve', 'Peru')",
        "UPDATE orders SET total = 0",
        "DELETE FROM orders",
        "DROP TABLE orders",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "REPLACE INTO customer VALUES (1, 'Eve', 'Peru')",
        "ATTACH DATABASE 'new.db' AS other",
        "DETACH DATABASE main",
        "PRAGMA query_only = OFF",
        "PRAGMA table_info(customer)",
        "SELECT * FROM pragma_table_info('customer')",
        "VACUUM INTO 'copy.db'",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE orders",
        "SELECT 'a;b' ; -- c\n DELETE FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "SELECT load_extension('x.so')",
        "SELECT * INTO other FROM orders",
        "SELECT",
        "",
        "-- nothing",
        "hello",
        "SELECT " + "(" * 1_500 + "1" + ")" * 1_500,
        "SELECT " + "1 + " * 2_000 + "1",
        "SELECT 1\x00; DROP TABLE orders",
    ],
)
def test_everything_but_one_select_is_refused(database: ReadOnlyDatabase, sql: str) -> None:
    with pytest.raises(ToolException, match=r"^[A-Z].{20,}\.$") as refusal:
        database.query(sql)
    assert len(str(refusal.value)) < 300


def test_engine_refuses_what_the_parser_would_let_pass(database: ReadOnlyDatabase) -> None:
    """The parser is not the only protection."""
    for sql in ("DELETE FROM orders", "PRAGMA query_only = OFF", "ATTACH 'new.db' AS other", "SELECT 1; SELECT 2"):
        with pytest.raises(ToolException, match="Only a single SELECT is allowed"):
            database._run(sql, 1)


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb", "duckdb", "sqlite"])
@pytest.mark.parametrize("comment", ["/*! INTO OUTFILE 'x' */", "/*!50000 + 1 */", "/*M! FOR UPDATE */", "/*+ hint */"])
def test_comments_that_servers_execute_are_refused(dialect: str, comment: str) -> None:
    assert read_query("SELECT 1 /* a comment */ + 1", dialect).sql == "SELECT 1 + 1"
    with pytest.raises(ToolException, match=r"Only a single SELECT is allowed|syntax error"):
        read_query(f"SELECT 1 {comment}", dialect)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT U&\"\\0070g_read_file\"('/etc/passwd')",
        "SELECT \"pg_read_file\"('/etc/passwd')",
        "SELECT pg_catalog.pg_sleep(9)",
        "SELECT other.upper('a')",
        "SELECT * FROM ts_stat('select 1')",
        "SELECT query_to_xml('select 1', true, true, '')",
        "SELECT * FROM t, pg_read_file(x) AS (c text)",
        "WITH pg_sleep(a) AS (SELECT 1) SELECT pg_sleep(9) FROM pg_sleep",
        "SELECT repeat('x', 1000000000)",
        "SELECT lpad('x', length(y)) FROM t",
        "SELECT set_config('role', 'none', false)",
    ],
)
def test_functions_that_do_more_than_compute_are_refused(sql: str) -> None:
    with pytest.raises(ToolException, match=r"not allowed|written as a number"):
        read_query(sql, "postgresql")


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
        "SELECT COUNT(*) FROM " + ", ".join(f"orders o{i}" for i in range(30)),
    ],
)
def test_a_query_that_never_ends_is_stopped(path: Path, sql: str) -> None:
    with pytest.raises(ToolException, match=r"stopped after 0\.5 seconds\. Join tables on their keys"):
        ReadOnlyDatabase(path, seconds=0.5).query(sql)


def test_with_tables_that_multiply_are_refused_before_they_are_compiled(database: ReadOnlyDatabase) -> None:
    doubling = ", ".join(f"t{i} AS (SELECT a.x FROM t{i - 1} a, t{i - 1} b)" for i in range(1, 40))
    with pytest.raises(ToolException, match="nests too many WITH tables"):
        database.query(f"WITH t0 AS (SELECT 1 AS x), {doubling} SELECT * FROM t39")


def test_ten_million_rows_are_capped_with_a_note(database: ReadOnlyDatabase) -> None:
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000000) SELECT i FROM n"
    answer = _tool(database, "query_database").invoke({"sql": sql})
    assert answer.endswith('{"i": 5}]\n(Only the first 5 rows. Use COUNT, SUM or a filter for a complete result.)')


def test_large_cells_and_results_are_truncated(database: ReadOnlyDatabase) -> None:
    query = _tool(database, "query_database")
    assert "... (truncated: 50000 characters in all)" in query.invoke({"sql": "SELECT printf('%50000d', 1) AS text"})
    with pytest.raises(ToolException, match="too big"):
        query.invoke({"sql": "SELECT hex(zeroblob(50000000)) AS text"})
    wide = ", ".join(f"printf('%400d', {i}) AS c{i}" for i in range(40))
    answer = query.invoke({"sql": f"SELECT {wide} FROM orders"})
    assert len(answer) < MAX_OUTPUT + 200
    assert "(Only the first 1 rows." in answer


def test_an_empty_result_says_what_to_check(database: ReadOnlyDatabase) -> None:
    answer = _tool(database, "query_database").invoke({"sql": "SELECT * FROM customer WHERE country = 'canada'"})
    assert answer == "[]\n(No rows match. Compare the filter with the stored values.)"


@pytest.mark.parametrize(
    ("sql", "advice"),
    [
        (
            "SELECT * FROM order_s",
            r"no table 'order_s'\. Did you mean orders\? The tables are customer, orders, big_orders\.",
        ),
        ("SELECT countri FROM customer", r"no column 'countri' in these tables\. Did you mean customer\.country\?"),
        (
            "SELECT o.totl FROM orders o",
            r"Did you mean orders\.total or big_orders\.total\? The columns are orders\(id, customer_id",
        ),
        ("SELECT name FROM customer WHERE", "syntax error near"),
        ("SELECT nonsense(1)", "no such function: nonsense"),
    ],
)
def test_mistakes_are_answered_with_the_next_move(database: ReadOnlyDatabase, sql: str, advice: str) -> None:
    with pytest.raises(ToolException, match=advice):
        database.query(sql)


def test_a_database_with_a_write_ahead_log_is_read_beside_its_writer_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    count = "SELECT COUNT(*) FROM t"
    with closing(sqlite3.connect(path)) as writer:
        writer.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        database = ReadOnlyDatabase(path)
        assert database.query(count).rows == [[1]]
        writer.execute("INSERT INTO t VALUES (2)")
        writer.commit()
        assert database.query(count).rows == [[2]]
    assert database.query(count).rows == [[2]]
    assert [file.name for file in tmp_path.iterdir()] == ["shop.db"]


def test_a_table_made_later_is_found(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("later") / "shop.db"
    shutil.copy(path, copy)
    database = ReadOnlyDatabase(copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.executescript("CREATE TABLE later (a); INSERT INTO later VALUES (7);")
    assert database.query("SELECT a FROM later").rows == [[7]]


def test_text_that_is_not_utf8_is_readable(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "odd.db")) as connection:
        connection.execute("CREATE TABLE t AS SELECT CAST(x'636166e9' AS TEXT) AS name, 9e999 AS size")
        connection.commit()
    odd = ReadOnlyDatabase(tmp_path / "odd.db")
    answer = _tool(odd, "query_database").invoke({"sql": "SELECT * FROM t"})
    assert answer == '[{"name": "caf\N{REPLACEMENT CHARACTER}", "size": "inf"}]'


def test_paths_with_characters_of_a_url_work(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    odd = tmp_path_factory.mktemp("odd") / "a b?mode=rwc#%41.db"
    shutil.copy(path, odd)
    assert ReadOnlyDatabase(odd).query("SELECT COUNT(*) FROM customer").rows == [[3]]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("{here}/missing.db", "There is no database file"),
        ("sqlite:///{here}/missing.db", "There is no database file"),
        ("sqlite://", "There is no database file"),
        ("{here}/text.db", "cannot be opened"),
        ("{here}/empty.db", "has no tables"),
        ("postgresql://ann:s3cret@127.0.0.1:1/shop", r"postgresql://127\.0\.0\.1:1/shop cannot be opened"),
        ("nosuch://ann:s3cret@host/shop", "Unknown kind of database 'nosuch'"),
        ("://s3cret", "This is not a database URL"),
    ],
)
def test_a_database_that_cannot_be_opened_is_refused_at_once(tmp_path: Path, url: str, message: str) -> None:
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg")
    (tmp_path / "text.db").write_text("This is a letter, not a database, and long enough to tell. " * 20)
    (tmp_path / "empty.db").touch()
    with pytest.raises(ValueError, match=message) as refusal:
        database_tools(url.format(here=tmp_path))
    assert "s3cret" not in "".join(traceback.format_exception(refusal.value))
    assert not (tmp_path / "missing.db").exists()


def test_postgres_is_read_and_not_changed(postgres_reader: str) -> None:
    database = ReadOnlyDatabase(postgres_reader, max_rows=1, seconds=60)
    query = _tool(database, "query_database")
    assert query.invoke({"sql": "SELECT COUNT(*) FROM customer WHERE name LIKE 'n1%'"}) == '[{"count": 111}]'
    assert query.invoke({"sql": "SELECT joined, tags FROM customer WHERE id = 1"}) == (
        '[{"joined": "2024-01-01", "tags": "{\\"a\\": 1}"}]'
    )
    assert database.rows("customer", 1).rows[0][1:3] == ["n1", "Peru"]
    for sql in (
        "WITH gone AS (DELETE FROM customer RETURNING *) SELECT * FROM gone",
        "SELECT 1; COMMIT; DROP TABLE customer",
        "SELECT $$;$$; DROP TABLE customer",
        "SELECT * FROM customer FOR UPDATE",
        "SELECT pg_sleep(60)",
        "SELECT nextval('counter')",
        "COPY customer TO PROGRAM 'cat'",
    ):
        with pytest.raises(ToolException, match=r"Only a single SELECT|not allowed"):
            query.invoke({"sql": sql})
    with pytest.raises(ToolException, match=r"no column 'nme' in these tables\. Did you mean customer\.name\?"):
        query.invoke({"sql": "SELECT c.nme FROM customer c"})
    with pytest.raises(ToolException, match="stopped after 1 seconds"):
        ReadOnlyDatabase(postgres_reader, seconds=1).query("SELECT COUNT(*) FROM generate_series(1, 100000000000)")
    assert database.query("SELECT COUNT(*) FROM customer").rows == [[300]]


def test_postgres_itself_refuses_what_the_parser_would_let_pass(postgres_reader: str) -> None:
    database = ReadOnlyDatabase(postgres_reader)
    for sql in ("DELETE FROM customer", "CREATE TABLE other (id int)"):
        with pytest.raises(ToolException, match=r"Only a single SELECT is allowed|syntax error at"):
            database._run(sql, 1)


def test_every_schema_of_postgres_that_may_be_read_is_shown(postgres_reader: str) -> None:
    list_tables, describe_tables, query = database_tools(postgres_reader)
    assert list_tables.invoke({}) == 'customer, sales."Order Lines", sales.totals'
    described = describe_tables.invoke({"names": ["sales.order lines"]})
    assert 'sales."Order Lines": id integer, "customerId" integer, "Unit Price" real\n' in described
    assert 'sales."Order Lines"."customerId" = customer.id\n' in described
    total = 'SELECT SUM("Unit Price") AS total FROM sales."Order Lines" JOIN public.customer c ON c.id = "customerId"'
    assert query.invoke({"sql": total}) == '[{"total": 6.5}]'
    with pytest.raises(ToolException, match=r'Did you mean sales\."Order Lines"\."Unit Price"'):
        query.invoke({"sql": 'SELECT UnitPrice FROM sales."Order Lines"'})
    with pytest.raises(ToolException, match=r"There is no table 'hidden'"):
        query.invoke({"sql": "SELECT * FROM hidden"})


def test_mariadb_is_read_beside_a_broken_view(mariadb_reader: str) -> None:
    list_tables, describe_tables, query = database_tools(ReadOnlyDatabase(mariadb_reader, seconds=1, max_rows=3))
    assert list_tables.invoke({}) == "customer, names, `order`"
    assert "`order`.customer_id = customer.id\n" in describe_tables.invoke({"names": ["order"]})
    assert query.invoke({"sql": "SELECT COUNT(*) AS n FROM customer WHERE name LIKE 'n1%'"}) == '[{"n": 111}]'
    assert "(Only the first 3 rows." in query.invoke({"sql": "SELECT * FROM customer"})
    counted = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT COUNT(*) AS n FROM n"
    )
    assert query.invoke({"sql": counted}) == '[{"n": 5000}]'  # by default the server stops at 1,000 without a word
    with pytest.raises(ToolException, match="stopped after 1 seconds"):
        query.invoke({"sql": "SELECT COUNT(*) FROM customer a, customer b, customer c, customer d, customer e"})
    with pytest.raises(ToolException, match=r"no column 'nme' .* Did you mean customer\.name"):
        query.invoke({"sql": "SELECT nme FROM customer"})


@pytest.mark.parametrize("user", ["root@", "filer:s3cret@"])
def test_a_user_of_mariadb_who_may_do_more_is_refused(mariadb: str, user: str) -> None:
    with pytest.raises(ValueError, match="may do more on the server than read tables") as refusal:
        ReadOnlyDatabase(mariadb.replace("root@", user))
    assert "s3cret" not in str(refusal.value)


def test_a_result_of_postgres_that_does_not_fit_into_memory_is_refused(postgres_reader: str) -> None:
    with pytest.raises(ToolException, match=r"needs too much memory .*Select fewer columns"):
        ReadOnlyDatabase(postgres_reader, seconds=60).query(
            "SELECT string_agg(repeat('x', 9000), '') FROM generate_series(1, 45000)"
        )


@pytest.mark.parametrize(
    ("source", "extra"),
    [("mysql://host/shop", "mariadb"), ("postgresql://host/shop", "postgres"), (["sales.csv"], "data")],
)
def test_a_driver_that_is_not_installed_is_named(
    source: str | list[str], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plan_execute.tools.database.sources.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=f"install the extra '{extra}'"):
        ReadOnlyDatabase(source)


def test_postgres_reads_only_and_as_the_parser_does_whatever_its_user_may(postgres_reader: str) -> None:
    database = ReadOnlyDatabase(postgres_reader.replace("reader@", "writer@"))
    for sql in ("SELECT nextval('counter')", "SELECT setval('counter', 9)"):
        with pytest.raises(ToolException, match="Only a single SELECT is allowed"):
            database._run(sql, 1)
    assert database.query("SELECT '\\' AS a, ' AS b' AS c").rows == [["\\", " AS b"]]


def test_mariadb_reads_only_and_as_the_parser_does_whatever_its_user_may(mariadb: str) -> None:
    database = ReadOnlyDatabase(mariadb.replace("root@", "writer:s3cret@"))
    with pytest.raises(ToolException, match="Only a single SELECT is allowed"):
        database._run("DELETE FROM customer", 1)
    texts = "SELECT \"it's\" AS a, 'b\\'c' AS b, COUNT (*) AS n FROM customer"
    assert database.query(texts).rows == [["it's", "b'c", 300]]


def test_duckdb_reaches_no_file_and_keeps_its_settings(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    (tmp_path / "sales.csv").write_text("a,b\n1,2\n")
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    for source in (tmp_path / "sales.csv", tmp_path / "shop.duckdb"):
        database = ReadOnlyDatabase(source)
        for sql in (
            f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')",
            f"SELECT * FROM '{tmp_path / 'secret.csv'}'",
            "SET enable_external_access = true",
            "SET memory_limit = '9GB'",
        ):
            with pytest.raises(ToolException, match="could not run the query"):
                database._run(sql, 1)


def test_a_process_that_ends_before_its_time_had_no_memory(
    database: ReadOnlyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database._workers, "ask", lambda _: None)
    with pytest.raises(ToolException, match="needs too much memory"):
        database.query("SELECT 1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_workers_of_its_own(path: Path) -> None:
    both_ask = """
import os, sys
from plan_execute.tools.database import ReadOnlyDatabase
database = ReadOnlyDatabase(sys.argv[1])
child = os.fork()
answers = [database.query(f"SELECT {number} + {1 if child else 2}").rows[0][0] for number in range(200)]
assert answers == [number + (1 if child else 2) for number in range(200)]
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", both_ask, str(path)], check=True, timeout=120)


def test_a_result_of_many_long_rows_is_capped(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "long.db")) as connection:
        connection.execute("CREATE TABLE t AS SELECT printf('%400d', 1) AS a")
    wide = ", ".join(f"a AS a{i}" for i in range(100))
    many = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999) SELECT {wide} FROM t, n"
    found = ReadOnlyDatabase(tmp_path / "long.db", max_rows=9_999).query(many)
    assert found.more
    assert 1_000_000 <= sum(len(text) for row in found.rows for text in row) < 1_100_000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 INTO DUMPFILE '/tmp/x'",
        "SELECT 1 INTO @x",
        "SELECT 1; SELECT 2",
        "SELECT 1; -- two\nSELECT 2",
    ],
)
def test_what_is_more_than_one_select_is_named(sql: str) -> None:
    with pytest.raises(ToolException, match="Only a single SELECT is allowed"):
        read_query(sql, "mariadb")


def test_what_is_sent_is_what_was_read() -> None:
    assert read_query('SELECT a&"b" FROM t', "postgresql").sql == 'SELECT a& "b" FROM t'
    with pytest.raises(ToolException, match=r"not allowed here\. Write the name itself"):
        read_query('SELECT U&"\\0061" FROM t', "postgresql")
    hidden = "WITH pg_authid AS (SELECT 1) SELECT * FROM pg_catalog.pg_authid, pg_authid"
    assert read_query(hidden, "postgresql").relations == [("pg_catalog", "pg_authid")]


def test_a_superuser_of_postgres_is_refused(postgres: str) -> None:
    with pytest.raises(ValueError, match=r"user 'postgres', who may do more .* GRANT pg_read_all_data TO reader"):
        ReadOnlyDatabase(postgres)


def test_a_quoted_name_that_is_no_column_is_an_error(database: ReadOnlyDatabase) -> None:
    with pytest.raises(ToolException, match=r"no column 'Contry' .*Did you mean customer\.country\?.*single quotes"):
        database.query("SELECT COUNT(*) FROM customer WHERE \"Contry\" = 'Canada'")


def test_a_call_that_no_handler_interrupts_is_stopped(path: Path) -> None:
    slow = "SELECT instr(hex(zeroblob(15000000)), hex(zeroblob(9000000)) || '1')"
    database = ReadOnlyDatabase(path, seconds=0.5)
    with pytest.raises(ToolException, match="stopped after"):
        database.query(slow)
    assert database.query("SELECT COUNT(*) FROM customer").rows == [[3]]


def test_names_that_need_quotes_and_virtual_tables_can_be_used(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "odd.db")) as connection:
        connection.executescript(
            """
            CREATE TABLE "Order Details" ("Unit Price" REAL, "select" INT, "a,b" TEXT);
            INSERT INTO "Order Details" VALUES (2.5, 1, 'x');
            CREATE VIRTUAL TABLE notes USING fts5(title, body);
            INSERT INTO notes VALUES ('Tents', 'They are dry');
            CREATE VIEW dry AS SELECT title FROM notes WHERE notes MATCH 'dry';
            CREATE VIRTUAL TABLE area USING rtree(id, low, high);
            INSERT INTO area VALUES (7, 1, 2);
            CREATE VIEW broken AS SELECT * FROM nowhere;
            """
        )
    list_tables, describe_tables, query = database_tools(tmp_path / "odd.db")
    assert list_tables.invoke({}) == '"Order Details", area, notes, dry'
    described = describe_tables.invoke({"names": ["order details", '"Order Details"']})
    assert described.count('"Order Details": "Unit Price" REAL, "select" INT, "a,b" TEXT') == 2
    assert query.invoke({"sql": 'SELECT "Unit Price" AS price FROM "Order Details"'}) == '[{"price": 2.5}]'
    assert query.invoke({"sql": "SELECT title FROM dry"}) == '[{"title": "Tents"}]'
    assert query.invoke({"sql": "SELECT title FROM notes('dry') ORDER BY rank"}) == '[{"title": "Tents"}]'
    assert query.invoke({"sql": "SELECT id FROM area WHERE low < 2"}) == '[{"id": 7}]'


def test_data_files_are_tables(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    (tmp_path / "Sales 2024.csv").write_bytes("Land,Betrag\nÖsterreich,3\nPeru,4\n".encode("cp1252"))
    list_tables, _, query = database_tools([tmp_path / "Sales 2024.csv"])
    assert list_tables.invoke({}) == "sales_2024"
    rows = query.invoke({"sql": "SELECT Land, SUM(Betrag) AS n FROM sales_2024 GROUP BY Land ORDER BY n"})
    assert json.loads(rows) == [{"Land": "Österreich", "n": 3}, {"Land": "Peru", "n": 4}]
    for sql in ("SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT getenv('HOME')"):
        with pytest.raises(ToolException):
            query.invoke({"sql": sql})
