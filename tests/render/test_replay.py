"""Whatever form an environment's picture has, it is drawn as what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.errors import RenderError
from trace_robot.render.encode import write_mp4
from trace_robot.render.scene import ReplayScene, rgb
from trace_robot.spec import Array, Scene, States

COLOR = np.zeros((6, 8, 3), np.uint8)
COLOR[:3], COLOR[3:, :, 2] = (255, 128, 0), 255
GREY = np.repeat(np.arange(6, dtype=np.uint8)[:, None] * 51, 8, axis=1)
OPAQUE = np.full((6, 8, 1), 255, np.uint8)
FORMS: dict[str, tuple[Any, Any]] = {
    "plain": (COLOR, COLOR),
    "rgba": (np.concatenate([COLOR, OPAQUE], axis=2), COLOR),
    "alpha never written": (np.concatenate([COLOR, 0 * OPAQUE], axis=2), COLOR),
    "channels first": (np.moveaxis(COLOR, 2, 0), COLOR),
    "rgba with channels first": (np.moveaxis(np.concatenate([COLOR, OPAQUE], axis=2), 2, 0), COLOR),
    "unit floats": (COLOR / 255.0, COLOR),
    "unit floats of 32 bits, channels first": (np.moveaxis(COLOR, 2, 0).astype(np.float32) / 255, COLOR),
    "floats to 255": (COLOR.astype(float), COLOR),
    "integers": (COLOR.astype(np.int64), COLOR),
    "16 bits": (COLOR.astype(np.uint16) * 257, COLOR),
    "grey": (GREY, np.repeat(GREY[:, :, None], 3, axis=2)),
    "grey with one channel": (GREY[:, :, None], np.repeat(GREY[:, :, None], 3, axis=2)),
    "grey with one channel first": (GREY[None], np.repeat(GREY[:, :, None], 3, axis=2)),
    "grey unit floats": (GREY / 255.0, np.repeat(GREY[:, :, None], 3, axis=2)),
    "mask": (GREY > 100, np.repeat(255 * (GREY > 100)[:, :, None], 3, axis=2)),
    "nested lists": (COLOR.tolist(), COLOR),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_of_any_usual_form_is_converted(form: str) -> None:
    given, shown = FORMS[form]
    picture = rgb(given)
    assert (picture.dtype.name, picture.shape) == ("uint8", (6, 8, 3))
    assert np.abs(picture.astype(int) - shown).max() <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "must give a picture, got NoneType"),
        ("text", "must give a picture, got str"),
        (np.zeros((0, 0, 3)), r"got ndarray of shape \(0, 0, 3\)"),
        (np.zeros((4, 4, 3, 1)), r"got ndarray of shape \(4, 4, 3, 1\)"),
        (np.zeros((6, 8, 5)), r"must give 1, 3 or 4 channels, got shape \(6, 8, 5\)"),
    ],
)
def test_what_is_no_picture_is_refused(given: Any, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        rgb(given)


class Forgetful:
    """Returns as a reward how many steps were made, and forgets none of them when it is reset."""

    def __init__(self, **_: Any) -> None:
        self.steps = 0

    def reset(self, *, seed: int) -> None:
        pass

    def step(self, action: Array) -> tuple[None, float]:
        self.steps += 1
        return None, float(self.steps)

    def close(self) -> None:
        pass


def recorded(rewards: list[float]) -> States:
    """An action of one number a step, and the reward that followed; the first row is of the reset."""
    rows = np.array([[0.0, reward] for reward in rewards])
    return States(
        rows, np.zeros((len(rows), 0, 3)), np.zeros((len(rows), 0, 4)), np.arange(len(rows), dtype=float)
    )


def test_an_environment_that_remembers_the_last_episode_is_made_again_and_one_that_differs_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trace_robot.env.registry.make", lambda name, **options: Forgetful(**options))
    scene = ReplayScene()
    described = Scene("", replay={"env": "counter", "options": {}, "seed": 0})
    for _ in range(3):
        scene.set(described, recorded([0.0, 1.0, 2.0, 3.0]))
        for index in range(4):
            scene.pose(index)
        scene.pose(1)  # a step back
    scene.set(described, recorded([0.0, 1.0, 7.0]))
    with pytest.raises(
        RenderError, match="the reward of step 2 was 7 and is now 2; see: trace-robot check-env"
    ):
        scene.pose(2)


@pytest.mark.parametrize("program", ["/no/such/ffmpeg", "a folder", "no program"])
def test_a_missing_ffmpeg_is_one_line(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no program").write_text("#!/no/such/interpreter\n")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", program if program.startswith("/") else str(tmp_path / program))
    with pytest.raises(RenderError, match=r"^video needs ffmpeg: pip install imageio-ffmpeg, or apt install"):
        write_mp4(tmp_path / "x.mp4", [COLOR], size=(8, 6), fps=10, rate_factor=26)
