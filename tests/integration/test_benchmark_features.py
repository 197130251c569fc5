"""What a feature costs: what leaves it out fits what it replaces, and instructions are counted without each."""

import os
import runpy
import subprocess
import sys

import pytest
from benchmarks import instructions as module_of_instructions
from benchmarks.costs import FEATURES
from benchmarks.instructions import TOTALS, instructions
from benchmarks.product import WITHOUT
from benchmarks.receiver import receiving
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

pytestmark = pytest.mark.integration


def test_every_feature_that_can_be_left_out_is_known_to_what_leaves_it_out():
    # Loading it changes nothing: no program that it looks for runs here.
    found = runpy.run_path(str(WITHOUT / "sitecustomize.py"))
    assert found["_FEATURES"].keys() == FEATURES.keys()
    assert {program for parts in found["_FEATURES"].values() for program in parts} == set(found["_COUNTED"])


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("program", ["tollgate_edge", "tollgate_router"])
def test_what_stands_in_for_a_feature_takes_the_arguments_of_what_it_replaces(feature, program):
    # A call with others would fail in the process under load, whose request would not end.
    path = os.pathsep.join([str(WITHOUT), *filter(None, sys.path)])
    environment = os.environ | {"TOLLGATE_BENCH_WITHOUT": feature, "PYTHONPATH": path}
    command = [sys.executable, "-c", "print('started')", program]
    found = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("started\n", "")


def test_the_receiver_counts_the_spans_that_come_in():
    with receiving() as receiver:
        exporter = OTLPSpanExporter(endpoint=receiver.environment()["OTEL_EXPORTER_OTLP_ENDPOINT"], insecure=True)
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        for _ in range(3):
            provider.get_tracer("test").start_span("one").end()
        provider.shutdown()
        assert receiver.spans() == 3


def test_without_valgrind_the_part_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    instructions(None, None)
    said = capsys.readouterr().out
    assert "valgrind, callgrind_control, vgdb not found (Debian: apt-get install valgrind)" in said


def test_instructions_are_counted_with_each_feature_taken_out(monkeypatch, capsys):
    counted = []

    def count(bench, results, without):
        counted.append(without)
        if without == "rating":
            raise RuntimeError("the product did not start")
        return dict.fromkeys(
            [(workload, kind) for workload in ("small", "burst") for kind in ("edge", "router")],
            90.0 if without else 100.0,
        )

    monkeypatch.setattr(module_of_instructions, "NEEDED", ())
    monkeypatch.setattr(module_of_instructions, "_counted", count)
    instructions(None, None)
    assert counted == ["", *FEATURES]
    said = capsys.readouterr().out
    assert said.count("    20.0 /     20.0") == len(FEATURES) - 1
    assert "rating in the router: not counted, the product did not start" in said
    # When the time is over the rest is named.
    counted.clear()
    monkeypatch.setattr(module_of_instructions, "MOST_SECONDS", -1.0)
    instructions(None, None)
    assert counted == [""]
    assert capsys.readouterr().out.count("minutes are over") == len(FEATURES)


def test_instructions_are_read_from_what_callgrind_writes():
    # As `callgrind_control --dump` leaves it: a process of several threads has one total.
    dump = "version: 1\npid: 7\nevents: Ir\nsummary: 1234567\n\nfn=(1) a\n0 9\n\ntotals: 1234567\n"
    assert TOTALS.findall(dump)[:1] == ["1234567"]
