"""Table, plot and documents made from results."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trace_robot.bench.report import markdown, named, pasted, scores, svg, write_report
from trace_robot.bench.results import ResultRow, Results, read_rows
from trace_robot.errors import RunError
from trace_robot.rollout.evaluation import wilson

ROOT = Path(__file__).parents[2]
Make = Callable[..., ResultRow]


def test_seeds_of_a_task_are_put_together_by_their_episodes(row: Make) -> None:
    (score,) = scores([row(wins=50), row(seed=1, wins=40)])
    assert score.success == 0.9
    assert score.interval == wilson(90, 100)


def test_the_table_tells_mean_settings_cost_and_every_task(row: Make) -> None:
    text = markdown([row(wins=50), row("push-v3", wins=40, crashes=3)])
    assert "**Mean success 0.900** over 2 tasks; 1 of them at 0.90 or better." in text
    assert "crashed count as failures (3 of 100)" in text
    assert "feedback level outcome" in text
    assert "budget of a run: 50,000 steps" in text
    assert "| reach-v3 | 1.00 |" in text
    assert "| push-v3 | 0.80 |" in text
    assert "tokens" not in text


def test_a_task_without_a_success_has_its_mean_return_over_all_seeds(row: Make) -> None:
    bare = {"measure": "return", "return_deviation": 10.0, "wins": 0}
    rows = [
        row("Walker2d-v5", held_out_return=300.0, **bare),
        row("Walker2d-v5", 1, held_out_return=340.0, **bare),
    ]
    text = markdown(
        [*rows, row("Pendulum-v1", wins=25, measure="both", held_out_return=-180.0, return_deviation=60.0)]
    )
    assert "**Mean success 0.500** over 1 task; 0 of them at 0.90 or better. 1 task without a success" in text
    assert "| task | mean return | 95 % interval | success | 95 % interval |" in text
    walker = next(line for line in text.splitlines() if line.startswith("| Walker2d"))
    assert walker.split(" | ")[1:5] == ["320", "316 to 324", "-", "-"]
    assert "| Pendulum-v1 | -180 | -197 to -163 | 0.50 |" in text
    drawn = svg(rows)
    assert "return 320 (316 to 324), no success is defined" in drawn
    ElementTree.fromstring(drawn)


def test_a_row_of_a_file_that_has_no_returns_is_read_and_a_wrong_measure_is_not(
    row: Make, tmp_path: Path
) -> None:
    with Results(tmp_path, {}) as results:
        results.add(row(held_out_return=3.0, return_deviation=1.0))
    path = tmp_path / "results.jsonl"
    data = json.loads(path.read_text())
    old = {k: v for k, v in data.items() if k not in ("measure", "held_out_return", "return_deviation")}
    path.write_text(json.dumps(old) + "\n")
    assert read_rows(path)[0].score.returns is None
    path.write_text(json.dumps({**data, "measure": "luck"}) + "\n")
    with pytest.raises(RunError, match="measure must be one of success, return, both, got 'luck'"):
        read_rows(path)


def test_calls_and_tokens_are_shown_where_a_model_was_asked(row: Make) -> None:
    text = markdown([row(model_calls=7, tokens=12_345, optimizer="optoprime")])
    assert "| calls | tokens |" in text
    assert "| 7 | 12,345 |" in text


def test_the_papers_numbers_stand_beside_ours_under_its_protocol_only(row: Make) -> None:
    paper = markdown([row("push-v3", protocol="paper")])
    assert "paper's optoprime | paper's opro" in paper
    assert "| 0.30 | 0.18 |" in paper
    assert "paper's" not in markdown([row("push-v3")])


def test_every_line_of_the_table_has_as_many_cells_as_its_head(row: Make) -> None:
    text = markdown([row(ended="a|b\nc"), row("push-v3", protocol="paper", model_calls=1)])
    lines = [line.replace("\\|", "") for line in text.split("\n") if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_the_plot_has_a_bar_a_task_sorted_and_is_the_same_every_time(row: Make) -> None:
    rows = [row(wins=20), row("push-v3", wins=50)]
    tree = ElementTree.fromstring(svg(rows))
    texts = [each.text for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.index("push-v3") < texts.index("reach-v3")
    assert svg(rows) == svg(rows)


def test_the_plot_of_no_results_says_so() -> None:
    assert "no results yet" in svg([])


def test_a_document_gets_the_table_where_it_names_the_results(row: Make, tmp_path: Path) -> None:
    with Results(tmp_path, {}) as results:
        results.add(row())
    table, _ = write_report(tmp_path)
    document = "before\n<!-- results: one.jsonl -->\nold\n<!-- end of results -->\nafter\n"
    new = pasted(document, lambda name: tmp_path / "results.jsonl", lambda name: f"{name}.svg")
    assert "old" not in new
    assert table.read_text() in new
    assert "![Success by task](one.jsonl.svg)" in new
    assert named(new) == ["one.jsonl"]
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert pasted(new, lambda name: tmp_path / "results.jsonl", lambda name: f"{name}.svg") == new


def test_a_document_gets_the_table_of_what_evaluate_zoo_printed(tmp_path: Path) -> None:
    rows = [
        {"task": task, "success": 0.5, "interval": [0.4, 0.6]}
        for task in ("push-v3", "reach-v3", "soccer-v3")
    ]
    data = {"seed": 1, "episodes": 50, "mean_success": 0.5, "tasks": rows}
    (tmp_path / "zoo.json").write_text(json.dumps(data))
    new = pasted("<!-- results: zoo.json -->\n<!-- end of results -->", lambda name: tmp_path / name, str)
    assert (
        "**Mean success 0.500** of 3 controllers, 50 episodes each on the held-out conditions of seed 1"
        in new
    )
    assert "| push-v3 | 0.50 | 0.40 to 0.60 | reach-v3 | 0.50 | 0.40 to 0.60 |" in new
    assert len({line.count("|") for line in new.split("\n") if line.startswith("|")}) == 1


def test_the_table_of_a_battery_counts_controllers_and_names_the_lowest(tmp_path: Path) -> None:
    def report(task: str, *rates: float) -> dict[str, Any]:
        rows: list[dict[str, Any]] = [
            {"name": f"world {k}", "success": rate, "episodes": 10} for k, rate in enumerate(rates)
        ]
        worst = min(rows, key=lambda row: row["success"])
        data = {"task": task, "battery": "standard-1", "seed": 3, "mean_success": sum(rates) / len(rates)}
        return {**data, "rows": [*rows, {"name": "heavy", "left_out": "no model"}], "worst": worst}

    (tmp_path / "stress-zoo.json").write_text(json.dumps([report("a", 1.0, 0.9), report("b", 0.8, 0.4)]))
    new = pasted(
        "<!-- results: stress-zoo.json -->\n<!-- end of results -->", lambda name: tmp_path / name, str
    )
    assert "**Mean success 0.775** over 2 worlds of 2 controllers; the worst world of 1 of them" in new
    assert "held-out conditions of seed 3, 10 episodes" in new
    assert "| world 0 | 0.900 | 1 of 2 | b 0.80 |" in new
    assert "| world 1 | 0.650 | 1 of 2 | b 0.40 |" in new
    assert "heavy" not in new
    assert "Lower, their worst worlds: `b` 0.40 (world 1)." in new


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("zoo.json", "[1]", "must be an object, got list"),
        ("stress-zoo.json", '{"rows": []}', "must be a list of reports, got dict"),
        ("stress-zoo.json", "[" * 300 + "]" * 300, "must be JSON of at most 100 levels"),
        ("zoo.json", "{", "is not what --json prints"),
    ],
)
def test_a_file_that_is_not_what_the_command_prints_is_an_error(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    document = f"<!-- results: {name} -->\n<!-- end of results -->\n"
    with pytest.raises(RunError, match=message):
        pasted(document, lambda name: tmp_path / name, str)


def test_a_link_in_the_place_of_the_results_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "zoo.json").symlink_to(tmp_path / "secret")
    document = "<!-- results: zoo.json -->\n<!-- end of results -->\n"
    with pytest.raises(RunError, match="is not followed"):
        pasted(document, lambda name: tmp_path / name, str)


def test_a_document_says_where_nothing_was_measured(tmp_path: Path) -> None:
    document = "<!-- results: none.jsonl -->\nold\n<!-- end of results -->\n"
    new = pasted(document, lambda name: tmp_path / name, str)
    assert new == "<!-- results: none.jsonl -->\n\nNo results yet.\n\n<!-- end of results -->\n"


def test_the_tables_of_the_documents_are_those_of_the_results_that_ship() -> None:
    document = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert named(document)
    fresh = pasted(
        document, lambda name: ROOT / "benchmarks" / "results" / name, lambda name: f"images/{name[:-6]}.svg"
    )
    assert fresh == document, "run: python benchmarks/tables.py"
    for name in [name for name in named(document) if name.endswith(".jsonl")]:
        path = ROOT / "benchmarks" / "results" / name
        if path.is_file():
            assert (ROOT / "docs" / "images" / f"{name[:-6]}.svg").read_text() == svg(read_rows(path))
