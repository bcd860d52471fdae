"""A language model by its settings: endpoint, budget, record and replay."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trace_robot.errors import RunError, UsageError
from trace_robot.llm.command_model import CommandModel, split_command
from trace_robot.llm.metering import Budget, MeteredModel, Prices, Usage
from trace_robot.llm.model import ChatModel, Message, Reply
from trace_robot.llm.openai_model import OpenAIModel
from trace_robot.llm.recording import RecordingModel, ReplayModel
from trace_robot.llm.refusal import MOST_TOKENS
from trace_robot.llm.transport import is_literal_loopback
from trace_robot.trace import operators
from trace_robot.trace.operator_table import ask_model

OFFICIAL_HOST = "api.openai.com"
MOST_RETRIES, MOST_PROPOSALS = 100, 64  # of what a store asks for


@dataclass(slots=True)
class ConnectedModel:
    """A chat model together with its meter.

    Args:
        model: what answers.
        meter: the part of it that counts.
        described: what answers, as text for people.
        name: of the model; empty for a record.
        address: of its endpoint, without anything secret; empty for a record.
    """

    model: ChatModel
    meter: MeteredModel
    described: str
    name: str = ""
    address: str = ""

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Ask ``model``.

        Args:
            messages: the prompt.
            n: how many replies to ask for.
        """
        return self.model.chat(messages, n)

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return self.meter.usage

    @property
    def endpoint(self) -> OpenAIModel | None:
        """The endpoint behind the meter, None where another kind of model answers."""
        return self.meter.model if isinstance(self.meter.model, OpenAIModel) else None

    @property
    def notes(self) -> list[str]:
        """What a user should know of the endpoint, a line each."""
        return [] if self.endpoint is None else list(self.endpoint.notes)

    def probe(self) -> None:
        """Check that the endpoint can be asked, before anything is spent.

        A record with answers is not checked: it may hold all that is asked for.

        Raises:
            ModelError: every request to it would fail.
        """
        recorded = isinstance(self.model, RecordingModel) and self.model.waiting
        if self.endpoint is not None and not recorded:
            self.endpoint.probe()
            self.name = self.endpoint.model


def configured(model: str | None = None, base_url: str | None = None) -> str:
    """Return which setting names a model, as text, "" if none does.

    Nothing is contacted.

    Args:
        model: a name that was given, or None.
        base_url: an endpoint that was given, or None for that of the environment.
    """
    if base_url or os.environ.get("OPENAI_BASE_URL"):
        return "a base URL is given" if base_url else "OPENAI_BASE_URL is set"
    if os.environ.get("OPENAI_API_KEY"):
        return "OPENAI_API_KEY is set"
    return "a model is named" if model else ""


def connect(
    model: str | None = None,
    base_url: str | None = None,
    *,
    budget: Budget | None = None,
    prices: Prices | None = None,
    used: Mapping[str, Any] | None = None,
    record: Path | str | None = None,
    replay: Path | str | None = None,
    in_order: bool = False,
    **options: Any,
) -> ConnectedModel:
    """Return a counted model: an endpoint, or a record of one.

    Args:
        model: its name; from the environment, or the endpoint's only one, if None.
        base_url: the endpoint; from the environment if None.
        budget: limits on calls, tokens, money and time.
        prices: of tokens, to count money.
        used: what an earlier part of a run had used, as ``Usage.to_data`` returned it.
        record: a file to which exchanges are appended. Requests that it holds are answered from it; these answers
            cost nothing and are not counted.
        replay: a file to answer from, without an endpoint. Counted is what was paid when it was recorded.
        in_order: of ``replay``: whether a prompt that it does not hold gets its next answer.
        options: other keyword arguments of OpenAIModel.

    Raises:
        ModelAuthError: there is neither a key nor a base URL.
        ModelError: the base URL is none.
        RunError: the file to replay or to go on with cannot be read.
    """
    if replay is not None:
        source = ReplayModel(replay, in_order=in_order)
        meter = MeteredModel(source, budget, prices=prices, used=used)
        return ConnectedModel(meter, meter, f"the record {source.path.name} of {source.total} exchanges")
    endpoint = OpenAIModel(model, base_url, **options)
    meter = MeteredModel(endpoint, budget, prices=prices, used=used)
    outer: ChatModel = meter if record is None else RecordingModel(meter, record)
    described = f"{endpoint.model or 'the model'} at {endpoint.address}"
    return ConnectedModel(outer, meter, described, endpoint.model, endpoint.address)


def answer_with(model: ChatModel) -> None:
    """Let the traced operator ``call_llm`` ask ``model``, whatever a call's options."""

    def ask(messages: list[Message], **_: Any) -> str:
        return model.chat(messages)[0].text

    operators.use_model(ask)


def _ask_endpoint(messages: list[Message], **options: Any) -> str:
    return OpenAIModel(options=options).chat(messages)[0].text


# A traced program may call a model without a word of set-up; one that was chosen before this import stays.
if not ask_model:
    operators.use_model(_ask_endpoint)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A chat model's name and endpoint, its budget and its record.

    Attributes:
        model: the name; None for OPENAI_MODEL, or the endpoint's only one.
        base_url: an OpenAI-compatible endpoint; None for OPENAI_BASE_URL.
        record: file to which prompts and replies are appended.
        replay: file of ``record`` to answer from, without a model.
        in_order: of ``replay``: whether a prompt that it does not hold gets its next answer; not stored.
        retries: further requests where the endpoint is busy or out of reach.
        proposals: replies to ask for at once.
        budget: limits on calls, tokens and money.
        prices: None where money is not counted.
        request: further fields of every request, such as temperature.
        token_budget: most tokens of a prompt; None for the optimizer's default.
        parallel: replies are asked for in as many requests at once, in place of one with the field ``n``; None for
            that one.
        send_key: whether OPENAI_API_KEY is sent to the endpoint; not stored.
        proposer: a command that answers in place of an endpoint, see ``CommandModel``.
    """

    model: str | None = None
    base_url: str | None = None
    record: str | Path | None = None
    replay: str | Path | None = None
    retries: int = 5
    proposals: int = 1
    budget: Budget = field(default_factory=Budget)
    prices: Prices | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    token_budget: int | None = None
    parallel: int | None = None
    send_key: bool = True
    proposer: str | Sequence[str] | None = None
    in_order: bool = False

    @property
    def reason(self) -> str:
        """The setting that names a model, "" without one.

        Nothing is contacted.
        """
        if self.replay is not None:
            return f"the record {self.replay} is replayed"
        if self.proposer is not None:
            return "a proposer is given"
        return configured(self.model, self.base_url)

    def connect(self) -> ConnectedModel:
        """Return the counted model.

        Raises ModelError where no endpoint is named, and RunError for a record that cannot be read.
        """
        if self.proposer is not None:
            return self._connect_command(self.proposer)
        return connect(
            self.model,
            self.base_url,
            record=self.record,
            replay=self.replay,
            in_order=self.in_order,
            retries=self.retries,
            budget=self.budget,
            prices=self.prices,
            api_key=None if self.send_key else "",
            options=self.request,
            parallel=self.parallel or False,
        )

    def _connect_command(self, proposer: str | Sequence[str]) -> ConnectedModel:
        if self.replay is not None or self.base_url is not None or self.request:
            raise UsageError(
                "a proposer answers in place of an endpoint and of a record; leave their options out"
            )
        command = CommandModel(proposer)
        meter = MeteredModel(command, self.budget, prices=self.prices)
        outer: ChatModel = meter if self.record is None else RecordingModel(meter, self.record)
        return ConnectedModel(outer, meter, command.described, self.model or "")

    def to_data(self, connected: ConnectedModel) -> dict[str, Any]:
        """Return JSON-able data that reaches the same model later.

        It names the model and the endpoint of ``connected``, so that changed environment variables do not matter. The
        key is not part of it. Paths are absolute, as a run may be resumed from another folder.
        """
        files = {"record": self.record, "replay": self.replay}
        # Only what was asked for, so that the rows of other runs stay as they were.
        added: dict[str, Any] = {
            "request": dict(self.request),
            "token_budget": self.token_budget,
            "parallel": self.parallel,
        }
        if self.proposer is not None:
            added["proposer"] = list(split_command(self.proposer))
        return {
            "model": connected.name,
            "base_url": connected.address,
            "retries": self.retries,
            "proposals": self.proposals,
            "budget": asdict(self.budget),
            "prices": None if self.prices is None else asdict(self.prices),
            **{name: None if path is None else str(Path(path).absolute()) for name, path in files.items()},
            **{name: value for name, value in added.items() if value},
        }

    @classmethod
    def from_data(
        cls,
        data: Mapping[str, Any],
        *,
        base_url: str | None = None,
        changes: Mapping[str, Any] | None = None,
        own: bool = True,
    ) -> ModelConfig:
        """Return the configuration that ``to_data`` wrote.

        A run's store may come from another person. An address in it is used without consent only if it is OpenAI's or
        this machine's, because prompts are sent there; and the user's API key only to OpenAI's.

        Args:
            data: what ``to_data`` returned, read back from JSON.
            base_url: of an endpoint that has moved; OPENAI_BASE_URL where it is None.
            changes: other attributes in place of the stored ones, those that are None left out. Fields of ``request``
                are added to the stored ones.
            own: whether this user began the run. Of another's, neither the address, nor the names of files, nor fields
                of requests are used.

        Raises:
            RunError: the stored address is elsewhere, and neither ``base_url`` nor OPENAI_BASE_URL is set; or the data
                are not of ``to_data``.
        """
        given = base_url or os.environ.get("OPENAI_BASE_URL")
        if not own and data.get("replay") is not None:
            raise RunError(
                "the run answers from a record, whose file is not taken from a store that this user did not begin; call"
                " trace_robot.resume with model=ModelConfig(replay=...)"
            )
        changed = {name: value for name, value in (changes or {}).items() if value is not None}
        command = data.get("proposer")
        if not own and command is not None and "proposer" not in changed:
            raise RunError(
                f"the run asked a command, {command!r:.200}, and a command is not taken from a store that"
                " this user did not begin; give one with --proposer"
            )
        try:
            # A request's fields may set headers or another address, so that only the user's own are sent.
            request = {**(data.get("request", {}) if own else {}), **changed.pop("request", {})}
            # Such a run asks no endpoint, of the store or of the environment variables.
            by_command = command is not None or "proposer" in changed
            prices = data["prices"]
            config = cls(
                model=_text(data["model"]),
                base_url=None if by_command else given or (_trusted(data["base_url"]) if own else None),
                record=_text(data["record"]) if own else None,
                replay=_text(data["replay"]),
                retries=_count(data["retries"], MOST_RETRIES),
                proposals=_count(data["proposals"], MOST_PROPOSALS),
                budget=Budget(**{name: _amount(value) for name, value in data["budget"].items()}),
                prices=None if prices is None else Prices(**{k: _amount(v) for k, v in prices.items()}),
                request={} if by_command else request,
                token_budget=_count_or_none(data.get("token_budget"), MOST_TOKENS),
                parallel=_count_or_none(data.get("parallel"), MOST_PROPOSALS),
            )
            if by_command and "proposer" not in changed:
                changed["proposer"] = _command(command)
            config = replace(config, **changed)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"the run's store does not say how to reach its model: {error!r:.200}") from error
        # This machine's address in a store is not consent to give the key to what listens there now.
        keyless = not given and config.base_url is not None and _is_local(config.base_url)
        return replace(config, send_key=False) if keyless else config


def _trusted(address: str | None) -> str | None:
    if not address:  # a replayed record has none
        return address
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname == OFFICIAL_HOST and parts.port in (None, 443):
        return address
    if _is_local(address):
        return address
    raise RunError(
        f"the run asked a model at {address!r}; to send prompts and the key there again, say so with --base-url"
    )


def _is_local(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("http", "https") and is_literal_loopback(parts.hostname or "")


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"must be text, got {type(value).__name__}")
    return value


def _command(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
        raise ValueError(f"must be a command, got {value!r:.80}")
    return tuple(value)


def _count(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"must be from 0 to {most}, got {value!r:.80}")
    return value


def _count_or_none(value: Any, most: int) -> int | None:
    return None if value is None else _count(value, most)


def _amount(value: Any) -> Any:
    if value is not None and (type(value) not in (int, float) or not value >= 0):
        raise ValueError(f"must be a number from 0 on, got {value!r:.80}")
    return value
