"""How to reach a language model, as data that a run's store keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trace_robot.errors import RunError
from trace_robot.llm.connect import ConnectedModel, configured, connect
from trace_robot.llm.metering import Budget, Prices

TRUSTED_HOSTS = ("api.openai.com", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A chat model's name and endpoint, its budget and its record.

    Attributes:
        model: the name; None for OPENAI_MODEL, or the endpoint's only one.
        base_url: an OpenAI-compatible endpoint; None for OPENAI_BASE_URL.
        record: file to which prompts and replies are appended.
        replay: file of ``record`` to answer from, without a model.
        retries: further requests where the endpoint is busy or out of reach.
        proposals: replies to ask for at once.
        budget: limits on calls, tokens and money.
        prices: None where money is not counted.
    """

    model: str | None = None
    base_url: str | None = None
    record: str | Path | None = None
    replay: str | Path | None = None
    retries: int = 5
    proposals: int = 1
    budget: Budget = field(default_factory=Budget)
    prices: Prices | None = None

    @property
    def reason(self) -> str:
        """The setting that names a model, "" without one.

        Nothing is contacted.
        """
        if self.replay is not None:
            return f"the record {self.replay} is replayed"
        return configured(self.model, self.base_url)

    def connect(self) -> ConnectedModel:
        """Return the counted model.

        Raises ModelError where no endpoint is named, and RunError for a record that cannot be read.
        """
        return connect(
            self.model,
            self.base_url,
            record=self.record,
            replay=self.replay,
            retries=self.retries,
            budget=self.budget,
            prices=self.prices,
        )

    def to_data(self, connected: ConnectedModel) -> dict[str, Any]:
        """Return JSON-able data that reaches the same model later.

        It names the model and the endpoint of ``connected``, so that changed environment variables do not matter. The
        key is not part of it. Paths are absolute, as a run may be resumed from another folder.
        """
        files = {"record": self.record, "replay": self.replay}
        return {
            "model": connected.name,
            "base_url": connected.address,
            "retries": self.retries,
            "proposals": self.proposals,
            "budget": asdict(self.budget),
            "prices": None if self.prices is None else asdict(self.prices),
            **{name: None if path is None else str(Path(path).absolute()) for name, path in files.items()},
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any], *, base_url: str | None = None) -> ModelConfig:
        """Return the configuration that ``to_data`` wrote.

        A run's store may come from another person. An address in it is used without consent only if it is OpenAI's or
        this machine's, because prompts and the user's API key are sent there.

        Args:
            data: what ``to_data`` returned, read back from JSON.
            base_url: of an endpoint that has moved; OPENAI_BASE_URL where it is None.

        Raises:
            RunError: the stored address is elsewhere, and neither ``base_url`` nor OPENAI_BASE_URL is set.
        """
        address = base_url or os.environ.get("OPENAI_BASE_URL") or _trusted(data["base_url"])
        prices = data["prices"]
        return cls(
            **{
                **data,
                "base_url": address,
                "budget": Budget(**data["budget"]),
                "prices": None if prices is None else Prices(**prices),
            }
        )


def _trusted(address: str | None) -> str | None:
    if not address or urlsplit(address).hostname in TRUSTED_HOSTS:  # a replayed record has none
        return address
    raise RunError(
        f"the run asked a model at {address!r}; to send prompts and the key there again, say so with --base-url"
    )
