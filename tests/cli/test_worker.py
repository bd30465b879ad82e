"""``overfly worker``, and ``overfly map`` with workers: wrong usage, and the example of the help."""

import shlex

import pytest

ROOT = ("--root", ".")


def test_a_scheduler_on_another_machine_needs_certificates_or_the_word_of_the_user(overfly, tmp_path):
    place = "192.0.2.1:8786"
    overfly("worker", place, *ROOT).assert_failed("192.0.2.1", "--tls-ca", "--insecure")
    overfly("map", "bundle", "a.tif", "--out", tmp_path / "map", "--scheduler", place).assert_failed("--insecure")
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_the_files_of_tls_is_not_enough(overfly, tmp_path):
    (tmp_path / "ca.pem").write_text("")
    tls = ("--tls-ca", tmp_path / "ca.pem")
    overfly("worker", "127.0.0.1", *ROOT, *tls).assert_failed("--tls-cert and --tls-key")
    line = ("map", "bundle", "a.tif", "--out", tmp_path / "map", "--scheduler", "127.0.0.1")
    overfly(*line, *tls).assert_failed("--tls-cert and --tls-key")


def test_a_worker_needs_a_folder_that_it_may_read(overfly, tmp_path):
    overfly("worker", "127.0.0.1").assert_misused("--root")
    overfly("worker", "127.0.0.1", "--root", tmp_path / "none").assert_failed(tmp_path / "none")


def test_a_map_has_workers_or_a_scheduler(overfly):
    line = ("map", "bundle", "a.tif", "--out", "map", "--workers", "2", "--scheduler", "127.0.0.1")
    overfly(*line).assert_misused("--scheduler")


def test_without_a_scheduler_nothing_is_protected(overfly):
    for choice in (("--insecure",), ("--tls-ca", "ca.pem", "--workers", "2")):
        overfly("map", "bundle", "a.tif", "--out", "map", *choice).assert_misused("--scheduler")


def test_an_empty_address_is_none(overfly):
    overfly("map", "bundle", "a.tif", "--out", "map", "--scheduler", "").assert_failed("''")


@pytest.mark.slow
def test_the_example_of_the_help_joins_a_scheduler_and_ends_with_it(overfly, start, monkeypatch, tmp_path):
    from distributed import LocalCluster

    words = shlex.split(overfly("worker", "--help").out.splitlines()[-1])
    monkeypatch.chdir(tmp_path)
    host, port = words[2].split(":")
    with LocalCluster(
        n_workers=0, host=host, protocol="tcp://", scheduler_port=int(port), dashboard_address=f"{host}:0"
    ):
        worker = start(*words[1:])
        assert "waits for blocks; it reads ." in worker.stderr.readline()
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert "has ended" in err
