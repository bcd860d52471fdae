"""Serialization of episodes and recordings: JSON and arrays in a compressed npz.

Nothing is pickled. A store may come from another machine or person, and unpickling it would run what they put there.
What is unpacked is bounded, against decompression bombs.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from trace_robot.fault import Fault
from trace_robot.rollout.episode import Episode
from trace_robot.safe_files import MOST_BYTES, MOST_JSON, inflate, load_json
from trace_robot.spec import Array, Scene, States

SCENE = {"model_path": str, "camera": str, "upside_down": bool, "view": dict, "replay": dict}
STATES = tuple(part.name for part in fields(States))
# zlib's quickest level: an optimizer waits while its batch of episodes is written, about 35 ms for the 600 of a
# search (docs/runs.md); the slower levels save little on numbers.
ZLIB_LEVEL = 1
MOST_EPISODES = 2**30  # bytes of an unpacked batch of episodes; those of a search have some 10 MB
# Bytes of the JSON of a batch: the largest in some eighty stores had 1.5 MB, and the graph of its one traced episode
# has at most MOST_JSON.
MOST_ABOUT = 2 * MOST_JSON
MOST_LINES = 100  # of contacts in an episode; a log has eight
Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Recording:
    """How an episode of T decisions and F recorded frames looked.

    positions: {field of the observation: (T + 1, 3)} in metres, world frame, at the start and after each decision;
    the hand's comes first. scene, states (F frames): what is needed to draw it, None where the environment gives none.
    """

    seed: int
    positions: Mapping[str, Array] = field(default_factory=dict)
    scene: Scene | None = None
    states: States | None = None


def encode_episodes(episodes: Sequence[Episode]) -> bytes:
    """Serialize episodes, those of staged programs and laws without their steps.

    A built-in search rolls out thousands and reads their sums and measures only, so no more of these is kept.
    """
    arrays: Arrays = {}
    headers = [_episode_header(f"{number}.", episode, arrays) for number, episode in enumerate(episodes)]
    return _pack(headers, arrays)


def decode_episodes(data: bytes) -> list[Episode]:
    """Deserialize what ``encode_episodes`` wrote.

    All comes back bit for bit, but for observations and states, which were written in single precision.
    """
    headers, arrays = _unpack(data, MOST_EPISODES)
    return [_episode(f"{number}.", header, arrays) for number, header in enumerate(headers)]


def encode_recording(recording: Recording) -> bytes:
    """Serialize a recording."""
    arrays = {f"positions.{name}": _single(array) for name, array in recording.positions.items()}
    header = {"seed": recording.seed, "positions": list(recording.positions)}
    return _pack({**header, **_scene_header("", recording.scene, recording.states, arrays)}, arrays)


def decode_recording(data: bytes) -> Recording:
    """Deserialize what ``encode_recording`` wrote."""
    header, arrays = _unpack(data, MOST_BYTES)
    positions = {str(name): _path(arrays[f"positions.{name}"]) for name in header["positions"]}
    if type(header["seed"]) is not int:
        raise ValueError(f"seed must be a whole number, got {header['seed']!r:.80}")
    return Recording(header["seed"], positions, *_scene("", header, arrays))


def encode_json(value: Any) -> bytes:
    """Serialize plain data as compressed JSON."""
    return zlib.compress(json.dumps(value).encode(), ZLIB_LEVEL)


def decode_json(data: bytes) -> Any:
    """Deserialize what ``encode_json`` wrote."""
    return load_json(inflate(data))


def _path(array: Any) -> Array:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != 2 or array.shape[1] != 3:
        raise ValueError("the path of a position must be an array of shape (T + 1, 3)")
    return array


def _single(array: Array) -> Array:
    """Return an array in single precision.

    Seven digits draw a path as well as sixteen do, in half the space.
    """
    return np.asarray(array, np.float32)


def _episode_header(prefix: str, episode: Episode, arrays: Arrays) -> dict[str, Any]:
    """Return an episode's JSON part, and add its arrays to ``arrays``."""
    header: dict[str, Any] = {
        "seed": episode.seed,
        "ended": episode.ended,
        "steps": episode.steps,
        "printed": episode.printed,
        "fault": None if episode.fault is None else asdict(episode.fault),
        "measures": dict(episode.measures),
        "return_threshold": episode.return_threshold,
    }
    if episode.line:
        header |= {"line": episode.line, "start": list(episode.start)}
    if episode.contacts:
        header["contacts"] = list(episode.contacts)
    if episode.measures:
        return header | {"decisions": episode.decisions, "reward": episode.total_reward}
    arrays |= {f"{prefix}rewards": episode.rewards, f"{prefix}actions": episode.actions}
    arrays |= {f"{prefix}series.{name}": array for name, array in episode.series.items()}
    if episode.observations.size:
        arrays[f"{prefix}observations"] = _single(episode.observations)
    header |= {
        "infos": dict(episode.infos),
        "series": list(episode.series),
        "graph": [dict(record) for record in episode.graph],
    }
    return header | _scene_header(prefix, episode.scene, episode.states, arrays)


def _episode(prefix: str, header: Mapping[str, Any], arrays: Arrays) -> Episode:
    fault = None if header["fault"] is None else Fault(**header["fault"])
    empty = np.zeros((0, 0))
    if "reward" in header:  # only the sum was kept: it stands in the first of as many rewards as there were
        rewards = np.zeros(header["decisions"])
        rewards[:1] = header["reward"]
        return Episode(
            seed=header["seed"],
            ended=header["ended"],
            steps=header["steps"],
            rewards=rewards,
            actions=empty,
            observations=empty,
            fault=fault,
            measures=header["measures"],
            return_threshold=header.get("return_threshold"),  # absent in early stores
        )
    scene, states = _scene(prefix, header, arrays)
    return Episode(
        seed=header["seed"],
        ended=header["ended"],
        steps=header["steps"],
        rewards=arrays[f"{prefix}rewards"],
        actions=arrays[f"{prefix}actions"],
        observations=arrays.get(f"{prefix}observations", empty),
        fault=fault,
        infos=header["infos"],
        measures=header["measures"],
        series={name: arrays[f"{prefix}series.{name}"] for name in header["series"]},
        graph=tuple(header["graph"]),
        scene=scene,
        states=states,
        printed=header["printed"],
        line=_line(header.get("line", "")),
        start=[float(number) for number in header.get("start", ())],
        contacts=tuple(map(_line, header.get("contacts", ()))),
        return_threshold=header.get("return_threshold"),
    )


def _line(text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError(f"the line of an episode must be text, got {type(text).__name__}")
    return " ".join(text.split())


def _scene_header(prefix: str, scene: Scene | None, states: States | None, arrays: Arrays) -> dict[str, Any]:
    """Return the JSON part of a scene, and add its arrays to ``arrays``."""
    if scene is None or states is None:
        return {"scene": None}
    arrays |= {f"{prefix}states.{name}": _single(getattr(states, name)) for name in STATES}
    arrays[f"{prefix}states.seconds"] = states.seconds  # in full: frames are chosen by comparing times
    arrays |= {f"{prefix}scene.{name}": np.asarray(array) for name, array in scene.model_arrays.items()}
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


def _scene(prefix: str, header: Mapping[str, Any], arrays: Arrays) -> tuple[Scene | None, States | None]:
    scene = header["scene"]
    if scene is None:
        return None, None
    for name, kind in SCENE.items():
        if not isinstance(scene[name], kind):
            raise ValueError(f"{name} of a scene must be {kind.__name__}, got {type(scene[name]).__name__}")
    model_arrays = {str(name): _numbers(arrays[f"{prefix}scene.{name}"]) for name in scene["model_arrays"]}
    states = States(*(_numbers(arrays[f"{prefix}states.{name}"]) for name in STATES))
    return Scene(**{**scene, "model_arrays": model_arrays}), states


def _numbers(array: Any) -> Array:
    # Of floating point: MuJoCo's models keep places in other arrays as integers, and believes them.
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.ndim:
        raise ValueError("states and model arrays must be arrays of floating-point numbers")
    return array


def _pack(header: Any, arrays: Mapping[str, Array]) -> bytes:
    """Return JSON, as the array "about", and arrays as one compressed npz file."""
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, about=text, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the bool of allow_pickle
    # Compressed as a whole: savez_compressed would compress each array apart, at zlib's default level.
    return zlib.compress(file.getvalue(), ZLIB_LEVEL)


def _unpack(data: bytes, most: int) -> tuple[Any, Arrays]:
    with np.load(io.BytesIO(inflate(data, most)), allow_pickle=False) as stored:
        # The npz is a zip file, which could unpack once more.
        if sum(entry.file_size for entry in stored.zip.infolist()) > most:
            raise ValueError(f"must unpack to at most {most:,} bytes")
        arrays = dict(stored)
    return load_json(arrays.pop("about").tobytes(), MOST_ABOUT), arrays
