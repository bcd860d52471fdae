"""Episodes and recordings as bytes, and back: arrays beside JSON in one compressed file; nothing is pickled."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trace_robot.fault import Fault
from trace_robot.rollout.episode import Episode
from trace_robot.spec import Array, Scene, States

STATES = ("qpos", "mocap_pos", "mocap_quat", "seconds")
QUICK = 1  # of zlib's levels: a search waits for it, and the higher ones save little
Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Recording:
    """What an episode looked like, F frames and T decisions.

    positions: (T + 1, 3) metres, world frame, by the name of the observation's field, at the start and after each
    decision; the hand's comes first. scene, states: what is needed to draw it, None where the environment has none.
    """

    seed: int
    positions: Mapping[str, Array] = field(default_factory=dict)
    scene: Scene | None = None
    states: States | None = None


def encode_episodes(episodes: Sequence[Episode]) -> bytes:
    """Write episodes; of those of programs, which are many, only what is read of them: sums and measures."""
    arrays: Arrays = {}
    return _file([_episode_data(f"{number}.", each, arrays) for number, each in enumerate(episodes)], arrays)


def decode_episodes(data: bytes) -> list[Episode]:
    header, arrays = _opened(data)
    return [_episode(f"{number}.", each, arrays) for number, each in enumerate(header)]


def encode_recording(recording: Recording) -> bytes:
    arrays = {f"positions.{name}": single(array) for name, array in recording.positions.items()}
    header = {"seed": recording.seed, "positions": list(recording.positions)}
    return _file({**header, **_picture_data("", recording.scene, recording.states, arrays)}, arrays)


def decode_recording(data: bytes) -> Recording:
    header, arrays = _opened(data)
    positions = {name: arrays[f"positions.{name}"] for name in header["positions"]}
    return Recording(header["seed"], positions, *_picture("", header, arrays))


def encode_json(value: Any) -> bytes:
    return zlib.compress(json.dumps(value).encode(), QUICK)


def decode_json(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))


def single(array: Array) -> Array:
    """Return numbers for looking at in half the room: a recorded path needs no sixteen digits."""
    return np.asarray(array, np.float32)


def _episode_data(at: str, episode: Episode, arrays: Arrays) -> dict[str, Any]:
    header: dict[str, Any] = {
        "seed": episode.seed, "ended": episode.ended, "steps": episode.steps, "printed": episode.printed,
        "fault": None if episode.fault is None else asdict(episode.fault), "measures": dict(episode.measures),
        "return_threshold": episode.return_threshold,
    }  # fmt: skip
    if episode.measures:
        return header | {"decisions": episode.decisions, "reward": episode.total_reward}
    arrays |= {f"{at}rewards": episode.rewards, f"{at}actions": episode.actions}
    arrays |= {f"{at}series.{name}": array for name, array in episode.series.items()}
    if episode.observations.size:
        arrays[f"{at}observations"] = single(episode.observations)
    header |= {
        "infos": dict(episode.infos),
        "series": list(episode.series),
        "graph": [dict(record) for record in episode.graph],
    }
    return header | _picture_data(at, episode.scene, episode.states, arrays)


def _episode(at: str, header: Mapping[str, Any], arrays: Arrays) -> Episode:
    fault = None if header["fault"] is None else Fault(**header["fault"])
    nothing = np.zeros((0, 0))
    if "reward" in header:
        rewards = np.zeros(header["decisions"])
        rewards[:1] = header["reward"]
        return Episode(
            header["seed"], header["ended"], header["steps"], rewards, nothing, nothing, fault,
            measures=header["measures"], return_threshold=header.get("return_threshold"),
        )  # fmt: skip
    scene, states = _picture(at, header, arrays)
    return Episode(
        header["seed"], header["ended"], header["steps"], arrays[f"{at}rewards"], arrays[f"{at}actions"],
        arrays.get(f"{at}observations", nothing), fault, header["infos"], header["measures"],
        {name: arrays[f"{at}series.{name}"] for name in header["series"]}, tuple(header["graph"]),
        scene, states, header["printed"], return_threshold=header.get("return_threshold"),
    )  # fmt: skip


def _picture_data(at: str, scene: Scene | None, states: States | None, arrays: Arrays) -> dict[str, Any]:
    if scene is None or states is None:
        return {"scene": None}
    arrays |= {f"{at}states.{name}": single(getattr(states, name)) for name in STATES}
    arrays[f"{at}states.seconds"] = states.seconds
    arrays |= {f"{at}scene.{name}": np.asarray(array) for name, array in scene.model_arrays.items()}
    return {
        "scene": {
            "model_path": scene.model_path,
            "model_arrays": list(scene.model_arrays),
            "camera": scene.camera,
            "upside_down": scene.upside_down,
            "view": dict(scene.view),
            "replay": dict(scene.replay),
        }
    }


def _picture(at: str, header: Mapping[str, Any], arrays: Arrays) -> tuple[Scene | None, States | None]:
    scene = header["scene"]
    if scene is None:
        return None, None
    model_arrays = {name: arrays[f"{at}scene.{name}"] for name in scene["model_arrays"]}
    states = States(*(arrays[f"{at}states.{name}"] for name in STATES))
    return Scene(**{**scene, "model_arrays": model_arrays}), states


def _file(header: Any, arrays: Mapping[str, Array]) -> bytes:
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, about=text, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the bool of allow_pickle
    return zlib.compress(file.getvalue(), QUICK)


def _opened(data: bytes) -> tuple[Any, Arrays]:
    with np.load(io.BytesIO(zlib.decompress(data)), allow_pickle=False) as stored:
        arrays = dict(stored)
    return json.loads(arrays.pop("about").tobytes()), arrays
