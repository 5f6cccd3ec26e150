"""Where webhooks may be, and what of them is never told to anybody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme
from audio.fetching import NAME, PUBLIC, Listener, Names, Roads, answering
from audio.test_fetching_tls import serving, trusting
from webhook_receivers import HERE, SAID, SECRET, Office, Receiver, in_office, until
from webhook_receivers import answering as with_statuses

from app.audio.fetching.addresses import Address
from app.audio.fetching.posting import Poster
from app.domain.errors import InvalidParameter, Overloaded
from app.service import logs
from app.service.jobs.webhooks import check_webhook
from app.settings import Settings

OTHERS = [
    *("http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:8000/", "http://127.1/"),
    *("http://2130706433/", "http://0x7f.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1]/"),
    *("http://localhost/", "http://LOCALHOST:1/", "http://a.localhost./", "http://127。0。0。1/", "http://0/"),
]


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    level, handlers = logger.level, logger.handlers[:]
    yield logger
    for handler in logger.handlers:
        if handler not in handlers:
            handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://example.com",
            "https://hooks.example.com:8443/a/b?c=d#e",
            "http://93.184.215.14/",
            "http://ex_a-b.de/",
        ),
        *(
            "https://例え.jp/",
            "http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:80/",
            "http://example.com./",
            "HTTPS://A/",
        ),
        "http://" + ".".join(["a" * 63] * 3) + "/",
    ],
)
def test_what_may_be_a_webhook(url: str) -> None:
    check_webhook(url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "example.com/hook",
            "ftp://example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http:///a",
            "//h/",
        ),
        *("http://me@example.com/", "http://me:secret-7f3a@example.com/", "http://example.com:0/", "http://h:99999/"),
        *("http://example.com/\r\nX: 1", "http://a..b/", "http://-a.b/", "http://a-/", "http://%2e/", "http://a b/"),
        *("http://" + "a" * 64 + ".de/", "http://" + "a." * 127 + "de/", "http://h/" + "a" * 4096),
        *OTHERS,
    ],
)
def test_what_can_be_seen_to_be_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^callback_url ") as caught:
        check_webhook(url, param="callback_url")
    assert caught.value.param == "callback_url"
    assert "secret-7f3a" not in caught.value.message


@pytest.mark.parametrize("url", [url for url in OTHERS if "fe80" not in url])
def test_the_operator_may_allow_what_is_not_public(url: str) -> None:
    check_webhook(url, networks=[ip_network("0.0.0.0/0"), ip_network("::/0")])


def test_nothing_is_sent_where_it_must_not_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario(office: Office) -> None:
        with Receiver() as here, Receiver(host="127.0.0.2") as beside:
            async with office.telling(networks=["127.0.0.1/32"]):
                await office.job(beside.url)
                await until(lambda: len(office.late) == 1)
                await office.job(here.url)
                await until(lambda: here.states == ["queued"])
            async with office.telling(networks=[]):
                office.clock.ahead += 6.0
                await office.job(here.url)
                await until(lambda: len(office.late) == 3)
            assert (here.connections, beside.connections) == (1, 0)

    in_office(tmp_path, scenario)
    assert "its name has an address that must not be reached" in caplog.text


def test_a_name_that_leads_into_a_private_network_is_called_by_nobody(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        roads = Roads()
        poster = Poster(networks=[], resolver=Names(**{NAME: [[PUBLIC, "10.0.0.7"]]}), dialer=roads)
        async with office.telling(poster=poster):
            await office.job(f"https://{NAME}/hook", SECRET)
            await until(lambda: len(office.late) == 1)
        assert roads.dialled == []

    in_office(tmp_path, scenario)


def test_a_name_that_has_to_wait_for_others_is_tried_again_when_the_resolver_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    class Busy(Names):
        async def resolve(self, host: str, key: str) -> Sequence[Address]:
            await super().resolve(host, key)
            raise Overloaded("Too many names are being looked up.", retry_after=30.0)

    async def scenario(office: Office) -> None:
        resolver = Busy(**{NAME: [[PUBLIC]]})
        async with office.telling(poster=Poster(networks=[], resolver=resolver, dialer=Roads())):
            await office.job(f"https://{NAME}/hook", owner="somebody")
            await until(lambda: len(office.late) == 1)
        assert office.late == [30.0]
        assert resolver.keys == ["somebody"]

    in_office(tmp_path, scenario)
    assert "could not be told that it is queued: too many names are being looked up; again in 30 s" in caplog.text


@pytest.mark.parametrize("named", [NAME, "other.example"])
def test_a_certificate_must_be_of_the_name(tmp_path: Path, named: str) -> None:
    authority = trustme.CA()

    async def scenario(office: Office) -> None:
        async with Listener(answering()).at(tls=serving(authority, named)) as server:
            poster = Poster(
                networks=[], resolver=Names(**{NAME: [[PUBLIC]]}), dialer=Roads.to(server), tls=trusting(authority)
            )
            async with office.telling(poster=poster):
                await office.job(f"https://{NAME}/hook", SECRET)
                await until(lambda: bool(office.meter.notices))
            assert office.meter.notices == (["sent"] if named == NAME else ["failed"])
            assert len(server.heads) == (1 if named == NAME else 0)

    in_office(tmp_path, scenario)


def test_no_secret_no_path_and_nothing_that_was_said_is_in_the_log(root: logging.Logger, tmp_path: Path) -> None:
    logs.configure(Settings(_env_file=None, debug=True, log_file=tmp_path / "server.log"))

    async def scenario(office: Office) -> None:
        away = Receiver()
        with Receiver(with_statuses(302, 500, 0, 410, 200)) as receiver:
            receiver.headers = {"Location": receiver.url + SECRET, "X-Echo": SECRET}
            async with office.telling(networks=HERE):
                jobs = [await office.job(url, SECRET) for url in (receiver.url, away.url, "http://10.0.0.1/path-7f3a")]
                await office.finish()
                while len(receiver.took) < 2:
                    office.clock.ahead += 5.0
                    await asyncio.sleep(0.05)
            written = (tmp_path / "server.log").read_text()
            assert all(job.id in written for job in jobs)

    in_office(tmp_path, scenario)
    written = (tmp_path / "server.log").read_text()
    assert "will not be told that it is queued: answered 410" in written
    assert "was told that it is succeeded" in written
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "path-7f3a", "query-7f3a", SAID, "v1,", "a name"):
        assert secret not in written, secret
