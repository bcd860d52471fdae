"""The true reason, in one line, before anything is spent."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trace_robot.errors import ModelAuthError, ModelError, RunError, UnknownModelError
from trace_robot.llm import ModelConfig, OpenAIModel
from trace_robot.llm.transport import is_loopback, proxy_for, retry_after, split_address, without_secrets

ASK = [{"role": "user", "content": "improve"}]
CLOSED = "http://127.0.0.1:9/v1"  # the port of "discard", where nothing listens


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_MODEL",
        "TRACE_ROBOT_MODEL",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    )
    for name in [name for name in os.environ if name.lower().endswith("_proxy")] + list(names):
        monkeypatch.delenv(name, raising=False)


def failing(model: Any, ask: str = "probe") -> str:
    """Return the error of a model as one line."""
    with pytest.raises(ModelError) as caught:
        getattr(model, ask)(*([ASK] if ask == "chat" else []))
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- the server


@pytest.mark.parametrize("ask", ["probe", "chat"])
@pytest.mark.parametrize("name", [None, "m"])
def test_a_server_that_is_down_is_the_reason_with_and_without_a_model_s_name(
    name: str | None, ask: str
) -> None:
    text = failing(OpenAIModel(name, CLOSED, retries=0), ask)
    assert text.startswith(f"cannot reach a model at {CLOSED}: ")
    assert "Connection refused" in text


def test_a_host_that_is_unknown_is_named() -> None:
    assert "cannot reach a model at http://model.invalid/v1" in failing(
        OpenAIModel("m", "http://model.invalid/v1", retries=0)
    )


@pytest.mark.parametrize("name", [None, "m"])
def test_a_refused_key_is_found_by_the_probe(
    server: Any, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.listing = (401, b'{"error": {"message": "Incorrect API key"}}')
    text = failing(OpenAIModel(name, server.url, api_key="sk-0123456789", retries=0))
    assert "refused the key (401: Incorrect API key)" in text
    assert "needs a key (401" in failing(OpenAIModel(name, server.url, retries=0))


@pytest.mark.parametrize("listing", [(404, b"{}"), (405, b""), (403, b"{}"), (500, b"oops"), (501, b""), (200, b"[]"),
                                     (200, b"{\"data\": 3}"), (200, b"\xff"), (429, b"{}")])  # fmt: skip
def test_an_endpoint_need_not_list_its_models(server: Any, listing: Any) -> None:
    server.listing = listing
    OpenAIModel("m", server.url, retries=0).probe()
    assert server.requests == []


def test_a_key_that_may_not_list_models_may_still_ask(server: Any) -> None:
    server.listing = (401, b'{"error": {"message": "Missing scopes: api.model.read"}}')
    OpenAIModel("m", server.url, retries=0).probe()


def test_without_a_name_the_reason_why_models_are_not_listed_is_given(server: Any) -> None:
    server.listing = (500, b'{"error": "the disk is full"}')
    assert failing(OpenAIModel(None, server.url, retries=0)) == f"{server.url} answered 500: the disk is full"
    server.listing = (404, b'{"error": "nothing here"}')
    assert "no model named: give --model or set OPENAI_MODEL" in failing(
        OpenAIModel(None, server.url, retries=0)
    )


def test_a_server_that_is_slow_at_first_passes_and_one_that_does_not_accept_does_not(server: Any) -> None:
    server.listing = "hangs"
    OpenAIModel("m", server.url, retries=0).probe(0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(address)  # the queue is full now
        try:
            model = OpenAIModel("m", f"http://127.0.0.1:{address[1]}/v1", retries=0)
            assert "no connection within 0.2 s" in failing_within(model, 0.2)
        finally:
            for other in others:
                other.close()


def failing_within(model: OpenAIModel, seconds: float) -> str:
    with pytest.raises(ModelError) as caught:
        model.probe(seconds)
    return str(caught.value)


def test_the_probe_finds_the_only_model(server: Any) -> None:
    server.models = ["alone"]
    connected = ModelConfig(None, server.url).connect()
    connected.probe()
    assert connected.name == "alone"


# --- the address


@pytest.mark.parametrize("path", ["", "/", "/api", "/openai/"])
def test_a_missing_version_in_the_path_is_named(server: Any, answers: Any, path: str) -> None:
    server.listing = (404, b"{}")
    server.answers.extend([answers.status(404, "not found")] * 2)
    text = failing(OpenAIModel("m", server.url.removesuffix("/v1") + path, retries=0))
    assert "404" in text
    assert "is /v1 missing at the end of the base URL" in text


def test_a_web_page_in_place_of_the_list_is_a_wrong_path(server: Any, answers: Any) -> None:
    page = b"<!doctype html><html><head><title>Open WebUI</title></head></html>"
    server.listing = (200, page)
    server.answers.append(answers.raw(page))
    text = failing(OpenAIModel("m", server.url.removesuffix("/v1"), retries=0))
    assert "a web page, 'Open WebUI'" in text
    assert "is /v1 missing" in text


def test_a_path_of_ones_own_that_works_passes(server: Any, answers: Any) -> None:
    server.listing = (404, b"{}")
    server.answers.extend([answers.status(400, "messages must not be empty"), answers.says("better")])
    model = OpenAIModel("m", server.url.removesuffix("/v1") + "/chat", retries=0)
    model.probe()
    assert model.chat(ASK)[0].text == "better"


def test_a_404_of_a_model_that_is_listed_is_not_an_unknown_model(server: Any, answers: Any) -> None:
    server.answers.append(answers.status(404, "no route"))
    with pytest.raises(UnknownModelError, match=r"answered 404 for model 'small' \(no route\); check"):
        server.model().chat(ASK)


def test_a_query_of_the_base_url_is_sent_with_every_request_and_kept(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("better"))
    config = ModelConfig("m", f"{server.url}/?api-version=2024-10-21&api_key=hidden")
    connected = config.connect()
    connected.probe()
    assert connected.chat(ASK)[0].text == "better"
    assert server.paths == [
        "/v1/models?api-version=2024-10-21&api_key=hidden",
        "/v1/chat/completions?api-version=2024-10-21&api_key=hidden",
    ]
    assert config.to_data(connected)["base_url"] == f"{server.url}?api-version=2024-10-21"
    assert "hidden" not in repr(connected.endpoint)


def test_the_whole_address_of_chat_completions_is_taken_too(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("better"))
    assert OpenAIModel("m", f"  {server.url}/chat/completions/\n").chat(ASK)[0].text == "better"


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://host/v1", "http://", "http://host:port/v1", "http://host:99999/v1",
            "http://a b/v1", "http://[::1/v1", "v1", "http://host\\v1"]
)  # fmt: skip
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ModelError, match="the base URL must look like http://host:port/v1, got "):
        OpenAIModel("m", url)


def test_secrets_of_an_address_are_left_out() -> None:
    base, query = split_address("https://me:pass@host/v1?api-version=1&key=k&sig=s&access_token=t#part")
    assert without_secrets(base, query) == "https://host/v1?api-version=1"


# --- the key


@pytest.mark.parametrize(
    ("key", "what"),
    [("sk-abcdefghijkl\n", "a line end at position 16 of 16"), ("sk-ab\r\ncd", "a line end at position 6 of 9"),
     ("sk-abc\u2026defghijkl", r"the character '…' \(U\+2026\) at position 7"), ("sk-ab cd", r"' ' \(U\+0020\)"),
     ("sk-\u200bab", r"\(U\+200B\)"), ("\ufeffsk-ab", r"\(U\+FEFF\) at position 1"), ("sk-\x07", r"\(U\+0007\)")],
    ids=repr,
)  # fmt: skip
def test_a_key_that_no_header_can_carry_is_named_without_showing_it(
    key: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ModelAuthError, match=f"the key in OPENAI_API_KEY has .*{what}") as caught:
        OpenAIModel("m", CLOSED)
    assert "sk-a" not in str(caught.value)


# --- proxies and certificates


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:9", "socks://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense"]
)
def test_a_server_on_this_machine_is_asked_without_a_proxy(
    server: Any, answers: Any, name: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, proxy)
    server.answers.append(answers.says("better"))
    assert OpenAIModel("m", server.url, retries=0).chat(ASK)[0].text == "better"


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example", "127.0.0.1.example", "10.0.0.1", "example", "2130706433"]
)
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_loopback(host)


ELSEWHERE = "http://model.invalid/v1"


def test_an_address_of_a_store_is_this_machine_s_only_by_localhost_or_a_literal_address() -> None:
    data = {**asdict(ModelConfig("m", "")), "prices": None}
    for host in ("localhost", "127.0.0.1", "127.1.2.3", "[::1]"):
        address = f"http://{host}:8000/v1"
        restored = ModelConfig.from_data({**data, "base_url": address})
        assert (restored.base_url, restored.send_key) == (address, False)
    for host in ("a.localhost", "0.0.0.0", "127.0.0.1.example", "10.0.0.1"):
        with pytest.raises(RunError, match="say so with --base-url"):
            ModelConfig.from_data({**data, "base_url": f"http://{host}:8000/v1"})


@pytest.mark.parametrize("amount", [float("inf"), float("nan"), 2.5, -1, 10**9, True, "100"])
@pytest.mark.parametrize("name", ["token_budget", "parallel"])
def test_a_count_of_a_store_that_is_none_is_refused(name: str, amount: Any) -> None:
    data = {**asdict(ModelConfig("m", CLOSED)), "prices": None}
    assert getattr(ModelConfig.from_data({**data, name: 7}), name) == 7
    with pytest.raises(RunError, match="does not say how to reach its model"):
        ModelConfig.from_data({**data, name: amount})


def test_a_key_that_is_withheld_is_named_as_the_reason(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    server.listing = (401, b'{"error": {"message": "Incorrect API key"}}')
    text = failing(ModelConfig("m", server.url, retries=0, send_key=False).connect())
    assert text.endswith("needs a key (401: Incorrect API key); give --base-url to send OPENAI_API_KEY there")


def test_a_dead_proxy_is_named_with_its_variable_and_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://me:pass@127.0.0.1:9")
    text = failing(OpenAIModel("m", ELSEWHERE, retries=0))
    assert text == (
        f"cannot reach a model at {ELSEWHERE} through the proxy http://127.0.0.1:9 of http_proxy: [Errno 111]"
        " Connection refused; check the proxy, or unset it, or add model.invalid to NO_PROXY"
    )


@pytest.mark.parametrize("url", [ELSEWHERE, ELSEWHERE.replace("http:", "https:")])
def test_a_proxy_of_an_unknown_scheme_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9")
    text = failing(OpenAIModel(None, url, retries=0))
    assert text.startswith(
        "the proxy socks://127.0.0.1:9 of ALL_PROXY must begin with one of http, https, socks5"
    )


def test_socks_without_its_package_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "socksio", None)  # as where it is not installed
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    text = failing(OpenAIModel("m", ELSEWHERE, retries=0))
    assert text.startswith(
        "the proxy socks5://127.0.0.1:9 of ALL_PROXY needs a package for SOCKS: pip install socksio"
    )


def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "127.0.0.1:9")
    proxy = proxy_for(ELSEWHERE)
    assert proxy is not None
    assert proxy.shown == "http://127.0.0.1:9 of http_proxy"
    monkeypatch.setenv("no_proxy", "example.com,.invalid")
    assert proxy_for(ELSEWHERE) is None


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_certificate_file_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/no/such.pem")
    text = failing(OpenAIModel("m", ELSEWHERE.replace("http:", "https:"), retries=0))
    assert text == f"{name} names '/no/such.pem', which does not exist; correct or unset it"


def test_a_certificate_file_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "a.pem"))
    text = failing(OpenAIModel("m", ELSEWHERE.replace("http:", "https:"), retries=0))
    assert text.startswith(f"SSL_CERT_FILE names '{tmp_path / 'a.pem'}', which holds no certificates: ")


def test_certificates_do_not_matter_without_https(
    server: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such.pem")
    server.answers.append(answers.says("better"))
    assert OpenAIModel("m", server.url, retries=0).chat(ASK)[0].text == "better"


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address and the certificate of a server that no authority vouches for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs openssl")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "12")
            self.end_headers()
            self.wfile.write(b'{"data": []}')

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/v1", certificate
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_certificate_that_nothing_vouches_for_is_not_retried_and_the_remedy_named(
    secure: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = secure
    text = failing(OpenAIModel("m", url, retries=3, sleep=lambda _: pytest.fail("retried")))
    assert "CERTIFICATE_VERIFY_FAILED" in text
    assert "SSL_CERT_FILE" in text
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    OpenAIModel("m", url, retries=0).probe()


def test_https_to_a_server_of_http_is_named(server: Any) -> None:
    text = failing(OpenAIModel("m", server.url.replace("http:", "https:"), retries=0))
    assert "cannot reach a model" in text
    assert "http, not https" in text


# --- what a server may do to a client


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("ask", ["probe", "chat"])
def test_nothing_is_sent_to_another_host_by_a_redirect(
    server: Any, answers: Any, code: int, ask: str
) -> None:
    other = type(server)()
    threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        place = f"{other.url}/chat/completions"
        server.listing = (code, b"", {"location": f"{other.url}/models"})
        server.answers.append(lambda handler, _: handler.send(code, b"", location=place))
        text = failing(OpenAIModel("m", server.url, api_key=answers.key, retries=0), ask)
        assert f"it redirects to {other.url}, where nothing was sent" in text
        assert other.requests == other.paths == []
    finally:
        other.shutdown()
        other.server_close()


def test_a_redirect_on_the_same_host_that_keeps_the_request_is_followed(server: Any, answers: Any) -> None:
    server.answers.extend(
        [lambda handler, _: handler.send(307, b"", location="/v1/chat/completions/"), answers.says("better")]
    )
    assert server.model().chat(ASK)[0].text == "better"
    assert server.keys[1] == f"Bearer {answers.key}"


def test_a_giant_error_is_not_read_to_its_end(server: Any, answers: Any) -> None:
    def endless(handler: Any, _: Any) -> None:
        handler.send_response(400)
        handler.end_headers()
        try:
            for _ in range(2000):
                handler.wfile.write(b"x" * 100_000)
        except OSError:
            handler.server.broke_off = True

    server.answers.append(endless)
    text = failing(server.model(), "chat")
    assert text.startswith(f"{server.url} answered 400: xxx")
    assert len(text) < 400


def test_an_error_that_trickles_in_ends_with_the_time_limit(server: Any, answers: Any) -> None:
    server.answers.append(answers.trickling(400, b"x"))
    assert "answered 400" in failing(server.model(seconds=1.0, retries=0), "chat")


def test_a_bomb_is_refused(server: Any, answers: Any) -> None:
    bomb = gzip.compress(b" " * 64_000_000)
    server.answers.append(lambda handler, _: handler.send(200, bomb, content_encoding="gzip"))
    assert "the answer is longer than 16,000,000 bytes" in failing(server.model(), "chat")


def test_answers_whose_compression_is_broken_are_asked_for_without(server: Any, answers: Any) -> None:
    def broken(handler: Any, request: Any) -> None:
        if "gzip" in handler.headers.get("accept-encoding", ""):
            handler.send(200, b"no gzip", content_encoding="gzip")
        else:
            answers.says("better")(handler, request)

    server.answers.extend([broken] * 3)
    model = server.model()
    assert [model.chat(ASK)[0].text for _ in range(2)] == ["better", "better"]
    assert len(server.requests) == 3
    assert "compressed answers are broken" in model.notes[0]


def test_compression_that_stays_broken_is_the_reason(server: Any, answers: Any) -> None:
    server.answers.extend([lambda handler, _: handler.send(200, b"no gzip", content_encoding="gzip")] * 4)
    text = failing(server.model(retries=0), "chat")
    assert f"{server.url} answered 200: the answer cannot be decompressed" in text


@pytest.mark.parametrize("code", [200, 204])
def test_an_empty_answer_is_asked_for_again(server: Any, answers: Any, code: int) -> None:
    server.answers.extend([lambda handler, _: handler.send(code, b""), answers.says("better")])
    assert server.model().chat(ASK)[0].text == "better"


def test_a_page_of_a_gateway_is_quoted_by_its_title(server: Any, answers: Any) -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"
    server.answers.extend([lambda handler, _: handler.send(502, page)] * 3)
    assert failing(server.model(), "chat") == f"{server.url} answered 502 after 3 tries: 502 Bad Gateway"


def test_a_field_that_is_no_json_is_one_line(server: Any) -> None:
    assert "Object of type" in failing(server.model(options={"a": object()}, retries=0), "chat")


@pytest.mark.parametrize(
    "text", ["soon", "-1", "nan", "inf", "1e9", "9" * 400, "Wed, 99 Foo 99999 99:99:99 GMT", "", "٣"]
)
def test_a_wait_that_is_none_is_ignored(text: str) -> None:
    assert retry_after({"retry-after": text}) is None
