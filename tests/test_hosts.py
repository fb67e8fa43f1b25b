import pytest

from darkroom.serving.errors import ServingError
from darkroom.serving.protocols import hosts
from darkroom.serving.protocols.hosts import Hosts


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.8.0.1", True), ("::1", True),
        ("[::1]", True), ("0.0.0.0", False), ("::", False), ("example.com", False),
    ],
)  # fmt: skip
def test_hosts_of_this_machine_alone(host: str, is_one: bool) -> None:
    assert hosts.is_loopback(host) is is_one


@pytest.mark.parametrize(
    "asked",
    [
        "localhost",
        "LOCALHOST:8501",
        "127.0.0.1:8501",
        "[::1]:8501",
        "10.0.0.7",
        "models.lan:80",
        None,
    ],
)
def test_names_by_which_a_server_here_may_be_asked(asked: str | None) -> None:
    Hosts("localhost", "models.lan, other.lan").check(asked)


@pytest.mark.parametrize(
    "asked", ["evil.example:8501", "localhost.evil.example", "", "127.0.0.1.x"]
)
def test_a_page_s_own_name_is_refused_here_and_taken_elsewhere(asked: str) -> None:
    with pytest.raises(ServingError, match="is asked as localhost"):
        Hosts("127.0.0.1", "").check(asked)
    Hosts("0.0.0.0", "").check(asked)
