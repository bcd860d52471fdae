"""The HTTP client below a chat model: proxies, certificates, redirects, bounds."""

from __future__ import annotations

import email.utils
import ipaddress
import os
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from trace_robot.errors import MissingExtraError, ModelAuthError, ModelError
from trace_robot.llm.refusal import RequestFailed, decode, failure, parse_json

MOST_BYTES = 16_000_000  # of an answer
MOST_ERROR_BYTES = 64_000  # of the body of an error, of which one line is shown
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
COMPLETIONS = "/chat/completions"
TAG = re.compile(r"<[^<>]*>")
TITLE = re.compile(r"<title[^<>]*>([^<]*)", re.I)
SECRET = re.compile(r"key|token|secret|sig|pass|auth|code|cred", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy that the environment names for an address.

    Attributes:
        url: as the HTTP library takes it.
        source: the variable that names it.
    """

    url: str
    source: str

    @property
    def shown(self) -> str:
        """The proxy without a password, and its source."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} of {self.source}"


def split_address(text: str) -> tuple[str, dict[str, str]]:
    """Return an endpoint's base URL without query, and its query.

    "/chat/completions" at its end is left out, which the client appends itself.

    Raises:
        ModelError: it is no address of an HTTP server.
    """
    address = text.strip()
    try:
        parts = urlsplit(address)
        usable = (
            parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        )
    except ValueError:  # of the port, and of brackets
        usable = False
    if not usable or re.search(r"[\s<>\"\\]", address):
        raise ModelError(f"the base URL must look like http://host:port/v1, got {text!r}")
    path = parts.path.rstrip("/").removesuffix(COMPLETIONS).rstrip("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), query


def without_secrets(base_url: str, query: Mapping[str, str]) -> str:
    """Return an address without user, password and the secret parts of its query.

    Args:
        base_url: without query.
        query: of which such as api-version stays.
    """
    parts = urlsplit(base_url)
    kept = {name: value for name, value in query.items() if not SECRET.search(name)}
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(kept), ""))


def require_sendable(key: str, source: str) -> str:
    """Return a key that an HTTP header can carry.

    Args:
        key: the key, of which an error shows nothing but the character that is in the way.
        source: where it comes from, such as OPENAI_API_KEY.

    Raises:
        ModelAuthError: it has a line end, another control character, a space or a letter outside of ASCII.
    """
    wrong = re.search(r"[^\x21-\x7e]", key)
    if wrong is None:
        return key
    character = wrong.group()
    what = "a line end" if character in "\r\n" else f"the character {character!r} (U+{ord(character):04X})"
    raise ModelAuthError(
        f"the key in {source} has {what} at position {wrong.start() + 1} of {len(key)}, which no HTTP header can carry;"
        " copy it again, without anything around it"
    )


def proxy_for(base_url: str) -> Proxy | None:
    """Return the proxy of an address by the environment, None where it is direct.

    HTTP libraries send requests to 127.0.0.1 through http_proxy, too, unless NO_PROXY names it. A proxy elsewhere
    cannot reach this machine's loopback address, so here it is always left out.

    Raises:
        ModelError: the proxy's scheme is not known.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host if parts.port is None else f"{host}:{parts.port}"):
        return None
    known = getproxies()
    for kind in (parts.scheme, "all"):
        if known.get(kind):
            names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
            source = next((name for name in names if os.environ.get(name)), "the system's settings")
            url = known[kind] if "://" in known[kind] else f"http://{known[kind]}"
            proxy = Proxy(url, source)
            if urlsplit(url).scheme not in PROXY_SCHEMES:
                raise ModelError(
                    f"the proxy {proxy.shown} must begin with one of {', '.join(PROXY_SCHEMES)}; correct it, unset it,"
                    f" or add {host} to NO_PROXY"
                )
            return proxy
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine."""
    # 0.0.0.0 is what servers print as their address.
    address = _literal_address(host)
    unspecified = address is not None and address.is_unspecified
    return unspecified or is_literal_loopback(host) or host.endswith(".localhost")


def is_literal_loopback(host: str) -> bool:
    """Return whether a host is localhost or a literal loopback address.

    A name below ".localhost" may be looked up elsewhere, and is none.
    """
    address = _literal_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _literal_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def create_client(
    key: str, base_url: str, query: Mapping[str, str], *, seconds: float, check: Callable[[Any], None]
) -> Any:
    """Return an ``openai.OpenAI``.

    Args:
        key: what is sent as the bearer token.
        base_url: without query.
        query: of every request.
        seconds: time-out of a read.
        check: called with every response of the HTTP library before its body is read.

    Raises:
        MissingExtraError: the package ``openai`` is not installed.
        ModelError: the proxy or the certificates that the environment names cannot be used.
    """
    try:
        import openai  # slow to import, and most commands ask no model
    except ImportError as error:
        raise MissingExtraError("language models need the openai package: pip install openai") from error
    proxy = proxy_for(base_url)
    try:
        http = openai.DefaultHttpxClient(
            # The environment is read here, not by the library, whose faults do not name the variable.
            trust_env=False,
            verify=_certificates() if base_url.startswith("https:") else True,
            proxy=None if proxy is None else proxy.url,
            event_hooks={"response": [check]},
        )
        # The package's own retries know neither the time limit of a whole answer nor how long a wait may be.
        return openai.OpenAI(
            api_key=key,
            base_url=base_url,
            default_query=query,
            timeout=seconds,
            max_retries=0,
            http_client=http,
        )
    except ImportError as error:
        shown = proxy.shown if proxy else "named"
        raise ModelError(
            f"the proxy {shown} needs a package for SOCKS: pip install socksio; or unset it"
        ) from error
    except ModelError:
        raise
    except Exception as error:  # the libraries below raise many kinds for what the environment says
        where = f"the proxy {proxy.shown}" if proxy else "this machine's settings"
        raise ModelError(
            f"no connection can be made with {where}: {error or type(error).__name__}"
        ) from error


def _certificates() -> Any:
    """Return the TLS context that the environment names, True for the library's."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(name)
        if not path:
            continue
        if not Path(path).exists():
            raise ModelError(f"{name} names {path!r}, which does not exist; correct or unset it")
        try:
            if name == "SSL_CERT_FILE":
                return ssl.create_default_context(cafile=path)
            return ssl.create_default_context(capath=path)
        except (ssl.SSLError, OSError) as error:
            raise ModelError(f"{name} names {path!r}, which holds no certificates: {error}") from error
    return True


def check_response(response: Any, seconds: float) -> None:
    """Raise where a response is a redirect that is not followed, or an error.

    Args:
        response: of the HTTP library, its body not read yet.
        seconds: for the body of an error.

    Raises:
        RequestFailed: with the reason.
    """
    location = response.headers.get("location")
    if location and 300 <= response.status_code < 400:
        _check_redirect(response, urljoin(str(response.request.url), location))
    elif response.status_code >= 300:
        try:
            text = decode(read_body(response, MOST_ERROR_BYTES, seconds, cut=True))
        except Exception:  # a body that breaks off, or is not compressed as it claims: the status is enough
            text = ""
        raise failure_of(response.status_code, text, retry_after(response.headers))


def failure_of(status: int, text: str, wait: float | None = None) -> RequestFailed:
    """Return what an error's body tells.

    Args:
        status: of HTTP.
        text: the body.
        wait: seconds that the headers ask to wait.
    """
    try:
        data = parse_json(text)
    except (ValueError, RecursionError):
        page = plain_page(text) if is_page(text) else text
        data = {"message": page}
    return failure(status, data, wait)


def is_page(text: str) -> bool:
    """Return whether a body is a web page."""
    return text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<head", "<body", "<?xml"))


def plain_page(text: str) -> str:
    """Return the title of a web page, or the beginning of its text."""
    title = TITLE.search(text)
    words = title.group(1) if title and title.group(1).strip() else TAG.sub(" ", text[:4000])
    return " ".join(words.split())[:200]


def without_page(body: bytes) -> str:
    """Return the text of a body.

    Raises:
        RequestFailed: it is a web page.
    """
    text = decode(body)
    if is_page(text):
        raise RequestFailed(200, f"a web page, {plain_page(text)!r}", again=False, page=True)
    return text


def _check_redirect(response: Any, target: str) -> None:
    """Raise unless a redirect stays at the same origin and keeps its method.

    The prompt, and over some redirects the key, would otherwise go to a host that the user has not named.
    """
    request, there = response.request, urlsplit(target)
    kept = request.method == "GET" or response.status_code in (307, 308)
    if kept and _origin(urlsplit(str(request.url))) == _origin(there):
        return
    path = there.path.removesuffix(COMPLETIONS).removesuffix("/models")
    address = urlunsplit((there.scheme, there.netloc.rpartition("@")[2], path, "", ""))
    raise RequestFailed(
        response.status_code,
        f"it redirects to {address}, where nothing was sent; if that is the right server, make it the base URL",
        again=False,
    )


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


def read_body(response: Any, most: int, seconds: float, *, cut: bool = False) -> bytes:
    """Return a response's body.

    It is read in pieces, as a time-out of the HTTP library begins again with every byte that arrives.

    Args:
        response: with ``iter_bytes``.
        most: bytes to read.
        seconds: for the whole body.
        cut: return the beginning of a longer body.

    Raises:
        RequestFailed: it takes too long or too many bytes.
    """
    deadline = time.monotonic() + seconds
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if time.monotonic() > deadline:
            raise RequestFailed(0, f"no complete answer within {seconds:g} s", slow=True, read=True)
        if len(body) > most:
            if cut:
                break
            raise RequestFailed(200, f"the answer is longer than {most:,} bytes", again=False)
    return bytes(body[:most])


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the header Retry-After asks for, None without one."""
    text = (headers.get("retry-after") or "").strip()
    try:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", text):
            return float(text)
        date = email.utils.parsedate_tz(text) if text else None
        return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())
    except (ValueError, OverflowError, TypeError):  # a date that no calendar has
        return None


@contextmanager
def failures(seconds: float) -> Iterator[None]:
    """Turn what a client raises into RequestFailed.

    Args:
        seconds: the time limit, for the message.
    """
    import openai

    try:
        yield
    except RequestFailed:
        raise
    except Exception as error:  # openai and the libraries below raise more kinds than they document
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
        if isinstance(cause, RequestFailed):  # of check_response, which the HTTP library calls
            raise cause from None
        raise _broken(cause, seconds) from error


def _broken(error: BaseException, seconds: float) -> RequestFailed:
    """Return a failure of the connection, or of the request itself."""
    name, text = type(error).__name__, str(error) or type(error).__name__
    if name == "DecodingError":
        return RequestFailed(200, f"the answer cannot be decompressed: {text}", encoded=True)
    if "Timeout" in name:  # the HTTP libraries have several such classes
        connected = name not in ("ConnectTimeout", "PoolTimeout")
        what = "answer" if connected else "connection"
        return RequestFailed(0, f"no {what} within {seconds:g} s", slow=True, read=connected)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        text += "; for a certificate of your own, name its authority's file in SSL_CERT_FILE"
        return RequestFailed(0, text, again=False)
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text.upper():
        return RequestFailed(0, f"{text}; the server seems to speak http, not https", again=False)
    return RequestFailed(0, text, again=isinstance(error, _transport_errors()))


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return what a broken connection raises.

    While an answer is streamed, that is an error of the HTTP library below openai, which goes by two names.
    """
    import openai

    modules = [sys.modules.get(name) for name in ("httpx", "httpx2")]
    return (openai.APIConnectionError, *(module.HTTPError for module in modules if module is not None))
