"""Encoding pictures: mp4 with ffmpeg, png with Pillow, and atomic publication."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trace_robot import safe_files
from trace_robot.errors import RenderError
from trace_robot.spec import Array

DATA_KEYFRAMES = 2  # pictures from one key frame to the next: a learner reads single pictures in any order
SAMPLED = 20  # pictures of an episode that ``sampled`` returns, evenly spread
DATA_RATE_FACTOR = 20  # finer than for a viewer


def publish(draft: Path, path: Path) -> None:
    """Put a finished file in its place atomically, following no link of its name.

    Args:
        draft: the file, which may lie on another file system.
        path: its place.
    """
    with open(draft, "rb") as file:
        safe_files.write(path.parent, path.name, file)


def write_mp4(
    path: Path,
    pictures: Iterable[Array],
    *,
    size: tuple[int, int],
    fps: float,
    rate_factor: int,
    keyframes: int | None = None,
) -> int:
    """Encode pictures as H.264 in mp4, the same pictures as the same bytes.

    Args:
        path: the file to write.
        pictures: each (height, width, 3) of 8 bits.
        size: their width and height, even numbers.
        fps: pictures a second.
        rate_factor: x264's constant rate factor.
        keyframes: pictures from one key frame to the next; None leaves it to x264.

    Returns:
        The number of pictures.

    Raises:
        RenderError: ffmpeg is not installed or could not write, or a picture has another shape.
    """
    try:
        import imageio_ffmpeg  # here, because pictures are drawn without it

        process = subprocess.Popen(
            _command(imageio_ffmpeg.get_ffmpeg_exe(), path, size, fps, rate_factor, keyframes),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except (
        ImportError,
        RuntimeError,
        OSError,
    ) as error:  # no package, no program, or one that does not start
        raise RenderError(
            f"video needs ffmpeg: pip install imageio-ffmpeg, or apt install ffmpeg ({' '.join(str(error).split())})"
        ) from error
    try:
        count = _feed(process, pictures, size)
    except BaseException:
        process.kill()
        # Closes the pipes and waits: otherwise the killed process would stay as a zombie.
        process.communicate()
        raise
    errors = process.communicate()[1].decode(errors="replace").strip().splitlines()
    if process.returncode:
        last = errors[-1] if errors else f"exit status {process.returncode}"
        raise RenderError(f"ffmpeg could not encode the video: {last}")
    return count


def _feed(process: subprocess.Popen[bytes], pictures: Iterable[Array], size: tuple[int, int]) -> int:
    """Write the pictures to ffmpeg and return their number.

    Where ffmpeg ends early, this stops, and its exit status will say why.
    """
    assert process.stdin is not None
    count = 0
    for picture in pictures:
        if picture.shape != (size[1], size[0], 3):
            raise RenderError(f"a picture must have shape {(size[1], size[0], 3)}, got {picture.shape}")
        try:
            process.stdin.write(np.ascontiguousarray(picture).data)
        except BrokenPipeError:
            break
        count += 1
    return count


def _command(
    program: str, path: Path, size: tuple[int, int], fps: float, rate_factor: int, keyframes: int | None
) -> list[str]:
    shape = ["-s", f"{size[0]}x{size[1]}", "-r", f"{fps:g}"]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", *shape, "-i", "-"]
    coded = ["-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", str(rate_factor), "-pix_fmt", "yuv420p"]
    if keyframes is not None:
        # Without B-frames a picture needs none that follows it.
        coded += ["-g", str(keyframes), "-bf", "0"]
    # One thread and no metadata: otherwise the bytes would depend on the machine and on ffmpeg's version string.
    same_bytes = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"]
    # faststart puts the index first, so that a browser plays before all is loaded; "file:" takes any name as it is.
    target = ["-movflags", "+faststart", "-f", "mp4", "-y", f"file:{path}"]
    return [program, "-loglevel", "error", "-nostdin", *source, *coded, *same_bytes, *target]


def write_npy(path: Path, pictures: Iterable[Array], *, shape: tuple[int, int, int, int]) -> None:
    """Write pictures as one array, through a memory map.

    Args:
        path: the file to write.
        pictures: each (height, width, 3) of 8 bits.
        shape: (frames, height, width, 3).

    Raises:
        RenderError: there is another number of pictures.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    count = 0
    for picture in pictures:
        if count < shape[0]:
            array[count] = picture
        count += 1
    array.flush()
    if count != shape[0]:
        raise RenderError(f"{shape[0]} pictures were wanted, got {count}; record the episodes again")


def write_png(path: Path, picture: Array) -> None:
    """Write one picture as png.

    Args:
        path: the file to write.
        picture: (height, width, 3) of 8 bits.
    """
    Image.fromarray(np.ascontiguousarray(picture)).save(path, optimize=True)


def sampled(video: Path, size: tuple[int, int], lengths: Sequence[int]) -> Iterator[Array]:
    """Yield some pictures of each episode of a video, (F, height, width, 3).

    Args:
        video: that holds the episodes one after another.
        size: width and height of its pictures.
        lengths: of the episodes, in pictures.

    Raises:
        RenderError: the video has another number of pictures.
    """
    import imageio_ffmpeg

    source = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-nostdin", "-i", f"file:{video}"]
    shape = (size[1], size[0], 3)
    with subprocess.Popen(
        [*source, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        for length in lengths:
            wanted = set(np.linspace(0, length - 1, min(length, SAMPLED)).round().astype(int).tolist())
            frames = []
            for place in range(length):
                picture = process.stdout.read(math.prod(shape))
                if len(picture) < math.prod(shape):
                    raise RenderError(
                        f"{video.name} has fewer pictures than its episodes have steps; delete it and run again"
                    )
                if place in wanted:
                    frames.append(np.frombuffer(picture, np.uint8).reshape(shape))
            yield np.array(frames)
        if process.stdout.read(1):
            process.kill()
            raise RenderError(
                f"{video.name} has more pictures than its episodes have steps; delete it and run again"
            )
