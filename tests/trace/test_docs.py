"""The examples of docs/trace.md."""

import linecache
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "trace.md"


def test_the_examples_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    namespace: dict[str, object] = {"__name__": "docs"}
    for index, text in enumerate(blocks):
        name = f"<docs/trace.md {index}>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        exec(compile(text, name, "exec"), namespace)
    printed = capsys.readouterr().out
    assert re.search(r"target\d+ = target\(distance=\w+, gain=gain\d+, __code=__code\d+\)", printed)
