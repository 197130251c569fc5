"""Results of benchmarks: what is written can be read, and what the page makes of it is what was measured."""

from dataclasses import asdict
from xml.etree import ElementTree as ET

import pytest
from benchmarks.growth import declared, write_files
from benchmarks.native import Load
from benchmarks.page import RESULTS, load_results, render
from benchmarks.peers.turns import OURS
from benchmarks.plots import Range, figure, ranges, stacks
from benchmarks.results import Results, rows
from benchmarks.targets import TARGETS, measured
from benchmarks.workloads import Bench

from tollgate_resources import load, load_catalogue

pytestmark = pytest.mark.contract

LONG = "ours & more than that with a long name"
SVG = "{http://www.w3.org/2000/svg}"


def seen(**changed):
    numbers = dict.fromkeys(Load.__dataclass_fields__, 0) | {"rate": 2000.0, "p50_ms": 3.0, "p99_ms": 9.0}
    return asdict(Load(**(numbers | changed)))


def product_run():
    run = Results("benchmarks")
    for number, path in enumerate((140.0, 150.0, 190.0)):
        micros = {"edge": path - 60, "router": 50.0, "valkey": 10.0, "billing": 70.0}
        run.add("requests", workload="small", round=number, requests=9, micros=micros, path=path, load=seen())
    run.add("requests", workload="burst", round=0, requests=9, micros=micros, path=551.0, load=seen(rate=9000.0))
    run.add("growth", what="3,000 of 100,000 keys in turn", round=0, small=100.0, large=104.0)
    run.add("growth", what="3,000 of 100,000 keys in turn", round=1, small=100.0, large=130.0)
    return run


def peers_run():
    run = Results("benchmarks.peers", {"ferrogw": "Ferro 1", "slow": "Slow 2"})
    for number, cost in enumerate((100.0, 130.0)):
        for name, factor in ((OURS, 1), ("tollgate with billing", 1.5), ("ferrogw", 2), ("slow", 40)):
            # One of them refuses what is long.
            for workload in ("small", "burst", *(("1 MB",) if name != "slow" else ())):
                row = {"workload": workload, "round": number, "requests": 9, "micros": cost * factor, "memory": 10**8}
                run.add("requests", gateway=name, load=seen(), **row)
            streams = 0 if name == "slow" else 500
            run.add("open", gateway=name, round=number, streams=streams, before=10**8, bytes=cost * 10**5, load=seen())
            micros = 0.0 if name == "slow" else cost * factor
            row = {"workload": "paced 256", "round": number, "micros": micros, "memory": 1}
            run.add("paced", gateway=name, delivered=0.5, load=seen(gap_p99_ms=20.0, broken=3), **row)
            run.add("latency", gateway=name, round=number, direct=seen(p50_ms=2.5), load=seen())
        run.add("paced", gateway="upstream", delivered=1.0, load=seen(gap_p99_ms=19.0), **row)
    return run


def written(tmp_path, **runs):
    for name, run in runs.items():
        run.write(tmp_path / f"{name}.json")
    return load_results(tmp_path)


def test_every_round_is_a_line_of_the_file(tmp_path):
    found = written(tmp_path, product=product_run())["product"]
    assert [row["path"] for row in rows(found, "requests", workload="small")] == [140, 150, 190]
    assert found["program"] == "benchmarks"
    assert {"commit", "python", "system", "processor", "processors"} <= set(found["machine"])
    assert found["machine"]["packages"]["grpcio"]
    assert len(found["busy"]) == 2
    assert all(len(one["load_average"]) == 3 and one["fixed_loop_ms"] > 0 for one in found["busy"])
    assert found["begun"] <= found["ended"]
    text = (tmp_path / "product.json").read_text()
    assert sum(line.startswith("   {") for line in text.splitlines()) == 6
    assert rows(found, "no such table") == []


def test_without_a_file_nothing_is_written(tmp_path, capsys):
    product_run().write(None)
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().out


def test_targets_are_met_or_missed_by_what_was_measured(tmp_path):
    found = written(tmp_path, product=product_run(), peers=peers_run())
    values = {target.title: (value, target.met(value)) for target, value in measured(found)}
    assert values["small chat request"] == (150, True)
    assert values["burst stream of 65 chunks"] == (551, False)
    assert values["small chat request / ferrogw"] == (0.5, True)
    assert values["small chat request / the best peer"] == (0.5, True)
    assert values["256 paced streams / ferrogw"] == (0.5, True)
    assert values["3,000 of 100,000 keys in turn / ten keys"] == (1.17, False)
    assert values["small requests a second, load client and upstream beside it"] == (2000, False)
    # What was not measured is neither.
    assert "512 paced streams / ferrogw" not in values
    assert "memory of 1,000 open streams" not in values
    assert len({target.title for target in TARGETS}) == len(TARGETS)


def test_the_page_has_the_figures_of_a_run(tmp_path):
    found = written(tmp_path, product=product_run(), peers=peers_run())
    made = {path.name: text for path, text in render(found).items()}
    page = made.pop("benchmarks.md")
    assert f"(chdb {found['product']['machine']['packages']['chdb']}, grpcio " in page
    assert "| small chat request | ≤ 150 µs of processor | 150 µs of processor | met |" in page
    assert "| burst stream of 65 chunks | ≤ 550 µs of processor | 551 µs of processor | **missed** |" in page
    assert "| ferrogw | 230 (200 - 260) | 2000 | 3.00 | 9.00 | 100 | 0.50 (0.50 - 0.50) |" in page
    assert "| slow | 0.00 (0.00 - 0.00) | 50.0% | 0.00 | 20.0 | 0 | 6 |  |" in page
    assert "| ferrogw | 0.50 (0.50 - 0.50) | 0.00 (0.00 - 0.00) | 2000 |" in page
    assert "| ferrogw | 23.0 (20.0 - 26.0) | 500 | 100 |" in page
    assert page.count("| slow |") == 5
    assert page.count("| ferrogw |") == 7
    for name, plot in made.items():
        assert f"](benchmarks/{name})" in page
        ET.fromstring(plot)


def test_a_page_is_made_of_whatever_was_run(tmp_path):
    page = next(iter(render(written(tmp_path, product=product_run())).values()))
    assert "Beside other gateways" not in page
    assert "usage store" not in page
    assert "What a feature costs" not in page


def test_a_chunk_costs_what_a_stream_does_beyond_a_small_request(tmp_path):
    run = product_run()
    run.add("paced", workload="paced 256", subject=OURS, micros={OURS: 2100.0}, delivered=1.0, memory={}, load=seen())
    page = next(iter(render(written(tmp_path, product=run, peers=peers_run())).values()))
    # 551 and 2,100 less 150, over 65 chunks.
    assert "| burst stream of 65 chunks, 16 connections | 6.17 |" in page
    assert "| 256 streams of 65 chunks, 20 ms apart | 30.0 |" in page
    # Here a stream costs what a small request does. Who delivered nothing costs nothing that could be told.
    assert "| ferrogw | 0.00 | 0.00 |" in page
    assert "| slow | 0.00 |  |" in page


def test_the_page_has_every_rate_and_the_highest(tmp_path):
    run = product_run()
    for rate, p50 in ((200, 3.5), (4000, 7.0)):
        for number in range(2):
            pair = {"direct": seen(p50_ms=3.0), "load": seen(p50_ms=p50 + number, rate=float(rate))}
            run.add("latency", rate=rate, round=number, **pair)
    for rate, good, borne in ((2000, 4000, True), (4000, 7999, False)):
        run.add("rates tried", rate=rate, round=0, requests=2 * rate, borne=borne, load=seen(good=good))
    run.add("rates", rate=2000, p99_limit_ms=20.0)
    found = written(tmp_path, product=run)
    page = next(iter(render(found).values()))
    assert "| 200 | 0.50 1.50 | 0.00 0.00 | 200 |" in page
    assert "| 4000 | 4.00 5.00 | 0.00 0.00 | 4000 |" in page
    assert "the p99 is at most 20 ms: **2000 requests a second**" in page
    assert "| 2000 | 4000 of 4000 | 9.00 | yes |" in page
    assert "| 4000 | 7999 of 8000 | 9.00 | no |" in page
    # The target is of one rate.
    values = {target.title: value for target, value in measured(found)}
    assert values["added latency at 200 requests/s: p50"] == 1.0


def test_a_part_that_was_run_by_itself_replaces_that_of_the_whole_run(tmp_path):
    whole, alone = product_run(), Results("benchmarks")
    for run, cost in ((whole, 90.0), (alone, 70.0)):
        for workload in ("small", "burst"):
            run.add("features", feature="spans", workload=workload, round=0, whole=cost, without=50.0)
    page = next(iter(render(written(tmp_path, product=whole)).values()))
    assert "| spans | 40 | 1.80 | 40 | 1.80 |" in page
    page = next(iter(render(written(tmp_path, product=whole, features=alone)).values()))
    assert "| spans | 20 | 1.40 | 20 | 1.40 |" in page
    assert "| 40 | 1.80 |" not in page
    assert page.count("Of a run by itself") == 1


def outages(*firsts):
    run = Results("benchmarks.usage")
    for server, first in zip(("usage store", "broker"), firsts, strict=True):
        row = {"away_s": 45, "arriving": 2000.0, "waiting": 90_000, "first_s": first, "drained_s": 12.0}
        run.add("outage", server=server, drain=5_000.0 + 1_000 * first, before=300 * 10**6, peak=10**9, **row)
    return run


def test_the_page_says_how_booking_went_on_after_an_outage(tmp_path):
    found = written(tmp_path, usage=outages(31.0, 2.0))
    page = next(iter(render(found).values()))
    assert "| broker | 2000 | 45 | 90000 | 2.0 | 12.0 | 7000 | 3.5 | 300 | 1000 |" in page
    values = {target.title: (value, target.met(value)) for target, value in measured(found)}
    # The worst of both counts.
    assert values["from the return of a server to the first commit"] == (31.0, False)
    assert values["what waits is booked, times what arrives meanwhile"] == (3.5, True)
    # A run by itself takes the place of that of the whole run.
    found = written(tmp_path, usage=outages(31.0, 2.0), **{"usage-outage": outages(0.5, 2.0)})
    values = {target.title: (value, target.met(value)) for target, value in measured(found)}
    assert values["from the return of a server to the first commit"] == (2.0, True)
    assert values["what waits is booked, times what arrives meanwhile"] == (2.75, False)
    page = next(iter(render(found).values()))
    assert page.count("| broker | 2000 |") == 1


def test_memory_of_smaller_batches_stands_beside_that_of_large_ones(tmp_path):
    run = Results("benchmarks.usage")
    for kind, peak in (("alone", 1_100), ("smaller", 700)):
        run.add(kind, events=300_000, rate=30_000.0, billing=32.0, valkey=3.0, peak=peak * 10**6)
    found = written(tmp_path, usage=run)
    page = next(iter(render(found).values()))
    assert "| 300000 events | 50000 | yes | 30000 | 32.0 | 3.00 | 1100 |" in page
    assert "| 300000 events | 20000 | yes | 30000 | 32.0 | 3.00 | 700 |" in page
    # The target is of what is shipped.
    assert [title for target, _ in measured(found) if "billing alone" in (title := target.title)]
    assert not [target for target in TARGETS if "by the product" in target.title]


def test_the_page_has_what_was_counted(tmp_path):
    counted, tricks = Results("benchmarks"), Results("benchmarks.tricks")
    for without, thousands in (("", (900.0, 800.0)), ("hold", (700.0, 650.0))):
        for workload in ("small", "burst"):
            for number, count in enumerate(thousands):
                for kind in ("edge", "router"):
                    row = {"without": without, "workload": workload, "round": number, "kind": kind}
                    counted.add("instructions", **row, thousands=count)
    tricks.add("tricks", where="here", what="this", plain_ns=120.4, trick_ns=40.2)
    page = next(iter(render(written(tmp_path, instructions=counted, tricks=tricks)).values()))
    # The lowest round of each, and the sum of both processes.
    assert "| router | 800 | 800 |" in page
    assert "| of them: hold and settle in Valkey | 300 | 300 |" in page
    assert "of them: rating" not in page
    assert "| here | this | 120 | 40 |" in page


def test_committed_results_are_of_a_commit_and_not_of_changed_files():
    found = load_results()
    assert {"peers", "product"} <= set(found), f"{RESULTS} lacks results"
    for name, run in found.items():
        assert run["machine"]["commit"] != "unknown", name
        assert "dirty" not in run["machine"]["commit"], name
        assert run["tables"], name


def test_a_plot_of_ranges_places_values_on_its_scale():
    plot = ET.fromstring(
        ranges(
            "A <title>",
            "us",
            [Range(LONG, 10, 100, 1000, ours=True), Range("x", 10, 10, 10)],
            logarithmic=True,
        )
    )
    low, middle, high = (
        float(plot.find(f".//{SVG}line[@class='range ours']").get("x1")),
        float(plot.find(f".//{SVG}circle[@class='ours']").get("cx")),
        float(plot.find(f".//{SVG}line[@class='range ours']").get("x2")),
    )
    assert middle - low == pytest.approx(high - middle, abs=0.2)
    texts = [text.text for text in plot.iter(f"{SVG}text")]
    # A long label moves the scale to the right.
    assert min(float(line.get("x1")) for line in plot.iter(f"{SVG}line")) > 7 * len(LONG)
    assert {"A <title>", LONG, "100", "1000"} <= set(texts)
    # Nothing is painted behind it, and a dark page gets colours of its own.
    assert plot.find(f"{SVG}rect") is None
    assert "prefers-color-scheme:dark" in plot.find(f"{SVG}style").text


def test_a_plot_marks_its_target_and_stacks_add_up():
    plot = ET.fromstring(ranges("t", "ratio", [Range("x", 0.9, 1.0, 1.1)], limit=1.05))
    limit = float(plot.find(f"{SVG}line[@class='limit']").get("x1"))
    assert (
        float(plot.find(f"{SVG}circle").get("cx"))
        < limit
        < float(plot.find(f"{SVG}line[@class='range theirs']").get("x2"))
    )
    plot = ET.fromstring(stacks("t", "us", {"a": {"one": 1.0, "two": 3.0}, "b": {"one": 2.0, "two": 2.0}}))
    widths = [float(bar.get("width")) for bar in plot.iter(f"{SVG}rect") if float(bar.get("height")) > 10]
    assert widths[1] == pytest.approx(3 * widths[0], abs=0.2)
    assert sum(widths[:2]) == pytest.approx(sum(widths[2:]), abs=0.2)


def test_the_configurations_that_grow_are_valid(tmp_path):
    bench = Bench(tmp_path, 9, 0)
    parts = declared(bench, 30, 90)
    write_files(tmp_path / "declared", parts, 50)
    names = sorted(path.name for path in (tmp_path / "declared").iterdir())
    assert names == [
        "channels-00000.yaml",
        "price_books-00000.yaml",
        "routes-00000.yaml",
        "routes-00050.yaml",
    ]
    loaded = load([tmp_path / "declared"], load_catalogue())
    assert loaded.problems == ()
    assert len(loaded.declared().routes) == 90
    routed = {
        target.channel for route in loaded.declared().routes for level in route.levels for target in level.targets
    }
    assert len(routed) == 30


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1234"), (99.96, "100.0"), (12.34, "12.3"), (0.456, "0.46")])
def test_a_figure_has_as_many_digits_as_say_something(value, text):
    assert figure(value) == text
