"""The guard admits one SELECT over plain tables and refuses every attack of the list."""

from __future__ import annotations

import duckdb
import pytest

from weftline.store.guard import MAX_CHARACTERS, GuardError, guard

ATTACKS = """
INSERT INTO signal SELECT * FROM signal
DELETE FROM signal
UPDATE signal SET value = 0
MERGE INTO signal USING other ON true WHEN MATCHED THEN DELETE
TRUNCATE signal
DROP TABLE signal
CREATE TABLE x (i INTEGER)
CREATE TEMP TABLE x AS SELECT 1
CREATE OR REPLACE VIEW signal AS SELECT 1
CREATE MACRO f(x) AS x
CREATE SECRET s (TYPE s3)
ALTER TABLE signal ADD COLUMN x INTEGER
ATTACH ':memory:' AS m
ATTACH '/etc/passwd' AS m
DETACH lake
USE m
COPY signal TO '/tmp/x.csv'
COPY (SELECT * FROM signal) TO '/tmp/x.parquet'
COPY signal FROM '/etc/passwd'
EXPORT DATABASE '/tmp/x'
IMPORT DATABASE '/tmp/x'
INSTALL httpfs
LOAD httpfs
PRAGMA database_list
PRAGMA memory_limit='1TB'
SET threads = 64
SET VARIABLE a = 1
RESET threads
CALL pragma_version()
CHECKPOINT
FORCE CHECKPOINT
VACUUM
ANALYZE
BEGIN
COMMIT
ROLLBACK
EXPLAIN SELECT 1
EXPLAIN ANALYZE SELECT * FROM signal
DESCRIBE signal
SHOW TABLES
SHOW ALL TABLES
SUMMARIZE signal
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE p
SELECT 1; SELECT 2
SELECT 1; DROP TABLE signal
SELECT * FROM signal; --
WITH gone AS (DELETE FROM signal RETURNING *) SELECT * FROM gone
WITH gone AS MATERIALIZED (DELETE FROM signal RETURNING *) SELECT * FROM gone
WITH put AS (INSERT INTO signal VALUES (1) RETURNING *) SELECT * FROM put
SELECT * FROM (DESCRIBE signal)
SELECT * FROM (SHOW TABLES)
SELECT * FROM (SUMMARIZE signal)
SELECT * FROM '/etc/passwd'
FROM '/etc/passwd'
SELECT * FROM 'sealed/x.parquet'
SELECT * FROM "/etc/passwd"
SELECT * FROM "sealed/signal/2026.parquet"
SELECT * FROM "https://example.org/x.csv"
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/etc/passwd')
SELECT * FROM read_json_auto('x')
SELECT * FROM read_parquet('sealed/*.parquet')
SELECT * FROM parquet_scan('sealed/*.parquet')
SELECT * FROM parquet_metadata('x')
SELECT * FROM read_duckdb('x')
SELECT * FROM glob('/*')
SELECT * FROM sniff_csv('x')
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('quarantine')
SELECT * FROM json_execute_serialized_sql('{}')
SELECT * FROM sqlite_scan('x', 'y')
SELECT * FROM postgres_query('x', 'y')
SELECT * FROM force_checkpoint()
SELECT * FROM checkpoint()
SELECT * FROM enable_logging()
SELECT * FROM pragma_storage_info('signal')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_tables
SELECT * FROM pg_class
SELECT * FROM pg_catalog.pg_class
SELECT * FROM information_schema.tables
SELECT * FROM sqlite_master
SELECT * FROM weftline.quarantine
SELECT * FROM lake.weftline.quarantine
SELECT * FROM lake.main.signal
SELECT * FROM "weftline"."checkpoint"
SELECT weftline.quarantine.original FROM signal
SELECT * FROM signal WHERE id IN (SELECT id FROM weftline.quarantine)
SELECT (SELECT max(original) FROM weftline.quarantine)
SELECT getenv('HOME')
SELECT current_setting('memory_limit')
SELECT getvariable('a')
SELECT current_query()
SELECT current_user
SELECT version()
SELECT nextval('s')
SELECT setseed(0.5)
SELECT setval('s', 1)
SELECT sleep_ms(100000)
SELECT pg_sleep(100)
SELECT write_log('x')
SELECT error('x')
SELECT system('id')
SELECT json_serialize_plan('SELECT 1')
SELECT json_serialize_sql('SELECT 1')
SELECT txid_current()
SELECT stats(value) FROM signal
SELECT main.sha256('x')
SELECT system.main.current_setting('threads')
SELECT 'threads'.current_setting()
SELECT value.getenv() FROM signal
SELECT [x for x in [current_setting('threads')]]
SELECT list_transform(['HOME'], x -> getenv(x))
SELECT * FROM signal ORDER BY getenv('HOME')
SELECT count(*) FILTER (WHERE current_setting('threads') = '2') FROM signal
SELECT * FROM signal, read_csv('/etc/passwd')
SELECT * FROM signal JOIN LATERAL (SELECT * FROM read_text('/etc/passwd')) ON true
SELECT * FROM signal UNION ALL SELECT * FROM read_text('/etc/passwd')
WITH a AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM a
WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT getenv('x')) SELECT * FROM a
SELECT * FROM signal WHERE value = $1
SELECT * FROM signal WHERE value = ?
SELECT * FROM signal WHERE value = $name
SELECT * FROM signal WHERE value = :name
SELECT 1 INTO x
SELECT * FROM signal FOR UPDATE
VALUES (getenv('HOME'))
SELECT /* hidden */ read_text('/etc/passwd')
SELECT "read_text"('/etc/passwd')
SELECT "GetEnv"('HOME')
SELECT
this is not SQL
SELECT 'open
SELECT * FROM signal WHERE (((
""".strip().splitlines()

HONEST = """
SELECT * FROM signal
SELECT equipment, avg(value) FROM signal WHERE term = 'temperature' GROUP BY equipment ORDER BY 2 DESC LIMIT 5
FROM signal SELECT value
FROM signal
SELECT s.value, e.state FROM signal s JOIN equipment_state e ON s.equipment = e.equipment
SELECT * FROM signal s ASOF JOIN equipment_state e ON s.equipment = e.equipment AND s.event_time >= e.start_time
WITH a AS (SELECT * FROM signal) SELECT count(*) FROM a
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n
SELECT * FROM signal UNION ALL SELECT * FROM signal
(SELECT 1)
VALUES (1, 'a'), (2, 'b')
SELECT date_trunc('hour', event_time) AS hour, sum(value) FROM signal GROUP BY ALL
SELECT time_bucket(INTERVAL '5 minutes', event_time), max(value) FROM signal GROUP BY 1
SELECT state, sum(seconds) FROM equipment_state GROUP BY state
SELECT extract(year FROM event_time), event_time::DATE, CAST(value AS VARCHAR), try_cast(text AS DOUBLE) FROM signal
SELECT CASE WHEN value > 3 THEN 'hot' ELSE 'cold' END, coalesce(text, unit), nullif(unit, '') FROM signal
SELECT equipment, lag(value) OVER (PARTITION BY equipment ORDER BY event_time) FROM signal
SELECT * FROM signal QUALIFY row_number() OVER (PARTITION BY equipment ORDER BY event_time DESC) = 1
SELECT quantile_cont(value, 0.95), median(value), stddev_samp(value), approx_count_distinct(unit) FROM signal
SELECT * EXCLUDE (extra) FROM signal
SELECT * REPLACE (value / 2 AS value) FROM signal
SELECT count(DISTINCT equipment), count(*) FILTER (WHERE value > 3), string_agg(unit, ',') FROM signal
SELECT list_transform([1, 2], x -> x + 1), [y * 2 FOR y IN [1, 2]], {'a': 1}.a, [1, 2][1]
SELECT extra->>'$.colour', json_extract_string(extra, '$.a') FROM signal
SELECT regexp_matches(equipment, '^l'), equipment ILIKE 'LINE%', split_part(equipment, '/', 1) FROM signal
SELECT i FROM range(10) t(i)
SELECT unnest([1, 2, 3])
SELECT * FROM signal WHERE equipment IN ('a', 'b') AND value BETWEEN 1 AND 2 AND text IS NOT NULL
SELECT * FROM signal WHERE EXISTS (SELECT 1 FROM equipment_state e WHERE e.equipment = signal.equipment)
SELECT * FROM signal USING SAMPLE 10 ROWS
SELECT epoch_ms(event_time), now() - event_time, age(event_time), strftime(event_time, '%H'), current_date FROM signal
SELECT arg_max(value, event_time), first(unit), any_value(quality) FROM signal
SELECT "position", "row" FROM signal
SELECT -value, value % 2, value ** 2, NOT true, 1 << 2, 'a' || 'b' FROM signal
SELECT feed, code, count(*) FROM quarantine GROUP BY ALL HAVING count(*) > 1
SELECT round(value, 2), greatest(1, 2), least(1, 2), abs(-1), floor(1.5), ln(2) FROM signal
SELECT sum(value) OVER (ORDER BY event_time ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM signal
SELECT equipment, unit, sum(value) FROM signal GROUP BY GROUPING SETS ((equipment), (unit))
SELECT * FROM (SELECT value v FROM signal) WHERE v > 1 LIMIT 10 OFFSET 2
SELECT * FROM signal WHERE event_time > TIMESTAMPTZ '2026-01-01 00:00:00+00' - INTERVAL 1 DAY
SELECT COLUMNS('val.*') FROM signal
""".strip().splitlines()


@pytest.fixture(scope="module")
def engine() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE signal (event_time TIMESTAMPTZ, equipment VARCHAR, term VARCHAR, value DOUBLE, text VARCHAR, "
        'unit VARCHAR, quality VARCHAR, extra VARCHAR, "position" UINTEGER, "row" UINTEGER)'
    )
    con.execute(
        "CREATE TABLE equipment_state (equipment VARCHAR, state VARCHAR, start_time TIMESTAMPTZ, seconds DOUBLE)"
    )
    con.execute("CREATE TABLE quarantine (feed VARCHAR, code VARCHAR)")
    return con


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(GuardError) as caught:
        guard(text)
    assert str(caught.value).endswith("[sql-refused]")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", HONEST)
def test_an_honest_query_passes_and_runs_as_rewritten(text: str, engine: duckdb.DuckDBPyConnection) -> None:
    admitted = guard(text)
    assert set(admitted.tables) <= {"signal", "equipment_state", "quarantine"}
    engine.sql(admitted.sql()).to_arrow_table()


def test_the_list_is_long_enough() -> None:
    assert len(ATTACKS) >= 60


def test_tables_are_told_without_the_names_of_with() -> None:
    text = "WITH signal2 AS (SELECT * FROM Signal) SELECT * FROM signal2 JOIN equipment_state USING (equipment)"
    assert sorted(guard(text).tables) == ["Signal", "equipment_state"]


def test_a_with_that_takes_the_name_of_a_table_it_reads_hides_nothing() -> None:
    assert guard("WITH signal AS (SELECT * FROM signal) SELECT * FROM signal").tables == ("signal",)
    nested = "SELECT * FROM signal WHERE 1 = (WITH signal AS (SELECT 1) SELECT * FROM signal)"
    assert guard(nested).tables == ("signal",)


@pytest.mark.parametrize(
    "text",
    [
        "WITH RECURSIVE signal AS (SELECT * FROM signal) SELECT * FROM signal",
        "WITH RECURSIVE signal AS (SELECT value FROM signal UNION ALL SELECT 1) SELECT * FROM signal",
        "WITH a AS (SELECT * FROM signal), signal AS (SELECT 1) SELECT * FROM a",
        "WITH a AS (WITH signal AS (SELECT 1) SELECT * FROM signal) SELECT * FROM signal",
        "SELECT * FROM (WITH signal AS (SELECT 1) SELECT * FROM signal) UNION ALL SELECT * FROM SIGNAL",
    ],
)
def test_shadowing_never_hides_a_table_from_the_policy(text: str) -> None:
    assert {name.casefold() for name in guard(text).tables} == {"signal"}


def test_the_refusal_tells_line_and_column() -> None:
    with pytest.raises(GuardError) as caught:
        guard("SELECT value,\n  getenv('HOME')\nFROM signal")
    assert (caught.value.complaint.line, caught.value.complaint.found) == (2, "the function getenv")


def test_a_very_long_or_deep_text_is_refused() -> None:
    with pytest.raises(GuardError):
        guard("SELECT " + "1," * MAX_CHARACTERS + "1")
    with pytest.raises(GuardError):
        guard("SELECT " + "(" * 5000 + "1" + ")" * 5000)
