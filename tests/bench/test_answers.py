"""The answers of a benchmark in one file: packed, shipped, and replayed with real rollouts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trace_robot.bench import Plan, bench, read_rows
from trace_robot.bench import run as packed
from trace_robot.bench.run import pack_answers, unpack_answers
from trace_robot.cli import main
from trace_robot.errors import RunError
from trace_robot.llm import ScriptedModel, read_record, recording
from trace_robot.llm.model import Message, Reply
from trace_robot.llm.recording import Exchange, RecordingModel, ReplayModel

RECORDINGS = Path(__file__).parents[2] / "benchmarks" / "recordings"
NAMES = ["point-mass-s0", "point-mass-s1"]
RUNS = "--tasks point-mass --seeds 0,1 --iterations 1"
COMMAND = f"bench --optimizer optoprime --protocol paper {RUNS} --workers 0 --quiet"


def exchange(run: str, prompt: str, answer: str) -> Exchange:
    messages: tuple[Message, ...] = ({"role": "user", "content": prompt},)
    return Exchange(1, messages, (Reply(answer, "stop"),), run=run)


def written(path: Path, *exchanges: Exchange) -> Path:
    """Write a file of answers as a stranger may have written it."""
    path.write_bytes(gzip.compress("".join(each.line() + "\n" for each in exchanges).encode()))
    return path


def test_a_packed_benchmark_repeats_without_a_model(
    point_mass: Path,
    endpoint: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, again = tmp_path / "ship" / "answers.jsonl.gz", tmp_path / "again"
    assert main([*COMMAND.split(), "--out", str(tmp_path / "first"), "--pack", str(file)]) == 0
    asked = len(endpoint.prompts)
    assert asked == 2
    assert [json.loads(line)["run"] for line in gzip.decompress(file.read_bytes()).splitlines()] == NAMES
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name)
    assert main([*COMMAND.split(), "--out", str(again), "--replay", str(file)]) == 0
    assert len(endpoint.prompts) == asked
    for before, row in zip(
        *(read_rows(tmp_path / n / "results.jsonl") for n in ("first", "again")), strict=True
    ):
        assert before.controller
        assert (row.success, row.interval, row.environment_steps, row.model_calls, row.tokens) == (
            before.success,
            before.interval,
            before.environment_steps,
            before.model_calls,
            before.tokens,
        )
        assert (again / row.controller).read_text() == (tmp_path / "first" / before.controller).read_text()
    assert not (again / "answers").exists()
    # A prompt that the file does not have: another seed, and a run that has none.
    capsys.readouterr()
    changed = written(tmp_path / "changed.gz", exchange(NAMES[0], "another prompt", "an answer"))
    assert main([*COMMAND.split(), "--out", str(tmp_path / "third"), "--replay", str(changed)]) == 1
    error = capsys.readouterr().err
    assert "run point-mass-s0: prompt 1 differs from the recorded one at line 1" in error
    assert error.count("\n") == 1


def test_answers_to_prompts_of_another_version_are_tried_in_order(
    point_mass: Path, endpoint: Any, tmp_path: Path
) -> None:
    """A released recording outlives a word that prompts change."""
    file, changed = tmp_path / "answers.jsonl", tmp_path / "changed.jsonl"
    assert main([*COMMAND.split(), "--out", str(tmp_path / "first"), "--pack", str(file)]) == 0
    text = file.read_text()
    assert "#Instruction" in text
    changed.write_text(text.replace("#Instruction", "#What to do"))
    arguments = [*COMMAND.split(), "--out", str(tmp_path / "again"), "--replay", str(changed)]
    assert main(arguments) == 1
    assert main([*arguments, "--in-order"]) == 0
    first, again = (read_rows(tmp_path / n / "results.jsonl") for n in ("first", "again"))
    assert [(r.success, r.environment_steps, r.model_calls) for r in again] == [
        (r.success, r.environment_steps, r.model_calls) for r in first
    ]


def test_the_same_prompt_of_two_runs_has_the_answer_of_each(tmp_path: Path) -> None:
    for name, answer in zip(NAMES, ("one", "two"), strict=True):
        model = RecordingModel(ScriptedModel([answer]), tmp_path / "answers" / f"{name}.jsonl")
        model.chat([{"role": "user", "content": "same"}])
    for file in (tmp_path / "all.jsonl", tmp_path / "all.jsonl.gz"):
        assert pack_answers(tmp_path, [*NAMES, "asked-nothing-s0"], file) == 2
        unpack_answers(file, [*reversed(NAMES), "asked-nothing-s0"], tmp_path / "out")
        for name, answer in zip(NAMES, ("one", "two"), strict=True):
            replay = ReplayModel(tmp_path / "out" / "replayed" / f"{name}.jsonl")
            assert [reply.text for reply in replay.chat([{"role": "user", "content": "same"}])] == [answer]
        with pytest.raises(
            RunError, match=r"has the answers of 2 runs, such as 'point-mass-s1'; replay them with"
        ):
            ReplayModel(file)
    first = (tmp_path / "all.jsonl.gz").read_bytes()
    pack_answers(tmp_path, NAMES, tmp_path / "all.jsonl.gz")
    assert (tmp_path / "all.jsonl.gz").read_bytes() == first
    assert gzip.decompress(first) == (tmp_path / "all.jsonl").read_bytes()


def test_what_an_earlier_file_gave_is_gone_with_the_next_one(tmp_path: Path) -> None:
    unpack_answers(written(tmp_path / "a", exchange(NAMES[0], "p", "old")), NAMES, tmp_path)
    unpack_answers(written(tmp_path / "b", exchange(NAMES[1], "p", "new")), NAMES, tmp_path)
    left = [[e.replies[0].text for e in read_record(tmp_path / "replayed" / f"{n}.jsonl")] for n in NAMES]
    assert left == [[], ["new"]]


def test_names_of_a_strangers_file_lead_nowhere(tmp_path: Path) -> None:
    bad = [exchange(name, "p", "a") for name in ("../../outside", "/tmp/outside", "runs/x", "")]
    file = written(tmp_path / "file.gz", *bad, exchange(NAMES[0], "p", "a"))
    unpack_answers(file, NAMES, tmp_path / "out" / "deep")
    there = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert there == ["file.gz", *(f"out/deep/replayed/{name}.jsonl" for name in NAMES)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8bno gzip", "cannot read the record .*: "),
        (gzip.compress(b'{"run": "x"}\n' * 9)[:-12], "is not an exchange|cannot read the record"),
        (gzip.compress(exchange(NAMES[0], "p", "a" * 5000).line().encode())[:-20], "end-of-stream"),
        (gzip.compress(b"0" * 10**6), "a line has at most 10,000 bytes"),
        (gzip.compress((exchange("x-s0", "p", "a").line() + "\n").encode() * 10**4), "a file has at most 100,000"),
        (b"[" * 9000 + b"\n", "line 1 of the record .* is not an exchange"),
        (b"no json\n{}\n", "line 1 of the record .* is not an exchange"),
        (b"\xff\xfe\n", "cannot read the record"),
        (b"", "has answers for no run of the plan, such as 'point-mass-s0'; it has lines without"),
        (exchange("reach-v3-s0", "p", "a").line().encode(), "it has 'reach-v3-s0'; give the --tasks"),
    ],
    ids=["no-gzip", "foreign", "cut", "long-line", "large", "deep", "no-json", "no-text", "empty", "other-task"],
)  # fmt: skip
def test_a_file_that_cannot_be_replayed_is_one_line(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MOST_BYTES", 100_000)
    monkeypatch.setattr(recording, "MOST_JSON", 10_000)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        unpack_answers(tmp_path / "file", NAMES, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_benchmark_that_asked_no_model_packs_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run in .* has asked a model"):
        pack_answers(tmp_path, NAMES, tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_file_to_replay_is_looked_at_before_a_rollout(plan: Callable[..., Plan], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read the record .*No such file"):
        bench(plan(optimizer="optoprime"), tmp_path / "out", replay=tmp_path / "missing.gz")
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--optimizer opro --in-order", "--in-order is of --replay FILE; give both"),
        ("--pack a.gz", "the optimizer search asks no model; leave --pack out"),
        ("--replay a.gz", "the optimizer search asks no model; leave --replay out"),
        (
            "--optimizer opro --replay a.gz --pack b.gz",
            "--replay answers in place of a model; leave --pack out",
        ),
        (
            "--optimizer opro --replay a.gz --model m",
            "--replay answers in place of a model; leave --model out",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: str, message: str, point_mass: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--tasks", "point-mass", *arguments.split()]) == 1
    assert message in capsys.readouterr().err


def test_a_compressed_record_is_replayed_and_not_appended_to(tmp_path: Path) -> None:
    file = written(tmp_path / "record.jsonl.gz", exchange("", "p", "a"))
    before = file.read_bytes()
    assert ReplayModel(file).chat([{"role": "user", "content": "p"}])[0].text == "a"
    with pytest.raises(RunError, match="is compressed, and nothing is appended to it; unpack it first"):
        RecordingModel(ScriptedModel(["b"]), file)
    assert file.read_bytes() == before


def test_the_answers_that_ship_repeat_without_a_model(tmp_path: Path) -> None:
    files = sorted(RECORDINGS.glob("*.jsonl.gz"))
    assert len(files) == 53
    assert all(read_record(file) for file in files)
    arguments = f"--tasks reach-v3 --iterations 5 --in-order --workers 0 --quiet --out {tmp_path / 'out'}"
    shipped = str(RECORDINGS / "mt50-optoprime.jsonl.gz")
    assert main(["bench", "--optimizer", "optoprime", *arguments.split(), "--replay", shipped]) == 0
    (row,) = read_rows(tmp_path / "out" / "results.jsonl")
    assert (row.success, row.model_calls) == (1.0, 1)
