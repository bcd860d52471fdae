"""The rendering process: quiet, alone with its GL library, restarted when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from trace_robot.errors import RenderError
from trace_robot.render.job import RenderJob
from trace_robot.render.process import (
    candidates,
    choose_backend,
    probe,
    worker_command,
    worker_environment,
)
from trace_robot.render.video import (
    Clip,
    RenderFailure,
    RenderProcess,
    VideoInfo,
    picture_job,
    render,
    video_job,
)


def children() -> set[int]:
    found = Path(f"/proc/self/task/{os.getpid()}/children")
    if not found.is_file():
        pytest.skip("needs /proc to see processes")
    return {int(number) for number in found.read_text().split()}


def test_a_backend_that_does_not_draw_is_passed_over() -> None:
    absent = candidates("win32" if sys.platform != "win32" else "linux")
    assert probe(absent[0])
    assert choose_backend(absent) == "rays"
    assert choose_backend([*absent, "rays"]) == "rays"


def test_a_backend_asked_for_by_name_must_draw(clip: Clip, tmp_path: Path) -> None:
    absent = candidates("win32" if sys.platform != "win32" else "linux")[0]
    with pytest.raises(
        RenderError, match=rf"backend '{absent}' does not draw here \(.*\); choose auto or rays"
    ):
        render([clip], tmp_path / "ball.mp4", backend=absent)


def without(libraries: list[str], folder: Path) -> dict[str, str]:
    """Return variables with which a loader finds empty files in place of libraries."""
    folder.mkdir()
    for name in libraries:
        (folder / name).touch()
    return {**os.environ, "LD_LIBRARY_PATH": str(folder)}


@pytest.mark.skipif(sys.platform != "linux", reason="names Linux libraries")
def test_egl_comes_before_osmesa_and_rays_come_where_neither_loads(clip: Clip, tmp_path: Path) -> None:
    picture_job([clip], tmp_path / "ball.png").save(tmp_path)
    code = "from trace_robot.render.video import choose_backend; print(choose_backend())"
    draw = (
        "import sys; from pathlib import Path; from trace_robot.render.job import RenderJob;"
        "from trace_robot.render.video import render_picture; job = RenderJob.load(Path(sys.argv[1]));"
        "print(render_picture(job.clips, job.path).backend)"
    )
    egl, osmesa = ["libEGL.so", "libEGL.so.1"], ["libOSMesa.so", "libOSMesa.so.6", "libOSMesa.so.8"]
    here = {name for name in ("egl", "osmesa") if not probe(name)}
    for number, (hidden, what) in enumerate([([], code), (egl, code), ([*egl, *osmesa], draw)]):
        left = (
            here - ({"egl"} if egl[0] in hidden else set()) - ({"osmesa"} if osmesa[0] in hidden else set())
        )
        done = subprocess.run(
            [sys.executable, "-c", what, str(tmp_path)],
            env=without(hidden, tmp_path / str(number)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (f"{min(left, default='rays')}\n", "")
    assert (tmp_path / "ball.png").is_file()


def test_where_no_library_draws_the_video_is_made_of_rays(clip: Clip, tmp_path: Path) -> None:
    info = render([clip], tmp_path / "ball.mp4", backend="rays")
    assert info.backend == "rays"
    assert info.frames == 43
    assert info.notes == ("drawn by ray casting; a GL library draws finer pictures: apt install libosmesa6",)


def test_the_choice_of_a_library_stays_in_the_process_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    environment = worker_environment("egl")
    assert environment["MUJOCO_GL"] == "egl"
    assert worker_environment("rays")["MUJOCO_GL"] == "disable"
    assert "MUJOCO_GL" not in os.environ
    assert "OPENAI_API_KEY" not in environment


def test_importing_the_module_loads_nothing_heavy() -> None:
    heavy = "{'mujoco', 'PIL', 'imageio', 'imageio_ffmpeg', 'metaworld', 'gymnasium'}"
    code = f"import sys, trace_robot.render; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


RENDER = """
import sys
from pathlib import Path
from trace_robot.render.job import RenderJob
from trace_robot.render.video import RenderProcess
with RenderProcess() as process:
    process.submit(RenderJob.load(Path(sys.argv[1])))
    {then}
"""


def test_nothing_is_printed_at_exit_and_no_file_is_left(clip: Clip, tmp_path: Path) -> None:
    video_job([clip], tmp_path / "ball.mp4").save(tmp_path)
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RENDER.format(then="process.finish()"), str(tmp_path)],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "ball.mp4").is_file()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_caller_that_is_killed_leaves_no_process_and_no_file(clip: Clip, tmp_path: Path) -> None:
    video_job([clip] * 3, tmp_path / "ball.mp4").save(tmp_path)
    (tmp_path / "temporary").mkdir()
    code = RENDER.format(then="import os; print('ready', flush=True); os.kill(os.getpid(), 9)")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"ready\n")
    deadline = time.monotonic() + 120
    while list((tmp_path / "temporary").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list((tmp_path / "temporary").iterdir())


def test_the_process_that_draws_ends_quietly_by_itself(clip: Clip, tmp_path: Path, backend: str) -> None:
    video_job([clip], tmp_path / "ball.mp4").save(tmp_path)
    done = subprocess.run(
        worker_command(backend),  # type: ignore[arg-type]
        env=worker_environment(backend),  # type: ignore[arg-type]
        input=f'"{tmp_path}"\n"{tmp_path}"\n'.encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 2
    assert (tmp_path / "ball.mp4").is_file()


def test_jobs_are_drawn_while_the_caller_goes_on(clip: Clip, tmp_path: Path) -> None:
    with RenderProcess() as process:
        for number in range(4):
            process.submit(picture_job([clip], tmp_path / "deep" / "folder" / f"{number}.png"))
        results = process.collect()
        assert len(results) < 4
        left, counts = 4 - len(results), []
        results += process.finish(lambda *count: counts.append(count))
        assert process.collect() == process.finish() == []
    assert counts[0] == (0, left)
    assert counts[-1] == (left, left)
    assert counts == sorted(counts)
    assert [result.path.name for result in results] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(isinstance(result, VideoInfo) and result.path.is_file() for result in results)


def test_one_bad_job_does_not_stop_the_others(clip: Clip, tmp_path: Path, process: RenderProcess) -> None:
    bad = replace(clip, scene=replace(clip.scene, camera="nonsense"))
    for name, each in (("a", clip), ("b", bad), ("c", clip)):
        process.submit(picture_job([each], tmp_path / f"{name}.png"))
    kinds = [type(result) for result in process.finish()]
    assert kinds == [VideoInfo, RenderFailure, VideoInfo]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "c.png"]


def kill_the_worker(before: set[int]) -> int:
    (worker,) = children() - before
    os.kill(worker, signal.SIGKILL)
    return worker


def test_a_process_that_dies_costs_nothing(clip: Clip, tmp_path: Path) -> None:
    before = children()
    with RenderProcess() as process:
        for name in ("a", "b"):
            process.submit(picture_job([clip], tmp_path / f"{name}.png"))
        kill_the_worker(before)
        results = process.finish()
        kill_the_worker(before)
        process.submit(picture_job([clip], tmp_path / "c.png"))
        results += process.finish()
    assert [type(result) for result in results] == [VideoInfo] * 3
    assert children() == before


def test_a_job_during_which_the_process_dies_twice_costs_that_picture(clip: Clip, tmp_path: Path) -> None:
    before = children()
    with RenderProcess() as process:
        process.submit(video_job([clip] * 40, tmp_path / "slow.mp4", quality="high"))
        process.submit(picture_job([clip], tmp_path / "next.png"))
        first = kill_the_worker(before)
        while children() - before == {first}:
            assert process.collect(wait_seconds=0.01) == []
        kill_the_worker(before)
        lost, drawn = process.finish()
    assert lost == RenderFailure(tmp_path / "slow.mp4", "the rendering process ended: exit status -9")
    assert isinstance(drawn, VideoInfo)
    assert [path.name for path in tmp_path.iterdir()] == ["next.png"]


def test_a_picture_that_takes_too_long_is_given_up(clip: Clip, tmp_path: Path) -> None:
    with RenderProcess(job_seconds=0.05) as process:
        process.submit(video_job([clip] * 40, tmp_path / "slow.mp4", quality="high"))
        (result,) = process.finish()
    assert result == RenderFailure(tmp_path / "slow.mp4", "no picture within 0.05 seconds")


def test_closing_early_leaves_no_process_and_no_file(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with RenderProcess() as process:
        process.submit(video_job([clip] * 40, tmp_path / "videos" / "slow.mp4", quality="high"))
    assert children() == before
    assert [path.name for path in tmp_path.rglob("*")] == ["videos"]


def test_a_process_that_was_given_nothing_starts_nothing() -> None:
    before = children()
    with RenderProcess() as process:
        assert process.finish() == []
        assert children() == before


def test_a_job_survives_its_folder(clip: Clip, tmp_path: Path) -> None:
    job = RenderJob((clip, clip), tmp_path / "x.png", "grid", (96, 80), "high", 30.0, (0.0, 0.5), 2)
    job.save(tmp_path)
    back = RenderJob.load(tmp_path)
    assert (back.path, back.layout, back.size, back.quality) == (job.path, job.layout, job.size, job.quality)
    assert (back.fps, back.moments, back.columns) == (job.fps, job.moments, job.columns)
    for one, other in zip(job.clips, back.clips, strict=True):
        assert (one.caption, one.outcome, one.success) == (other.caption, other.outcome, other.success)
        assert one.scene == other.scene
        assert all(
            (getattr(one.states, name) == getattr(other.states, name)).all() for name in ("qpos", "seconds")
        )
