import traceback

import grpc
import pytest

from darkroom.components.base.errors import DarkroomError, explain


def from_beam(message: str) -> Exception:
    return RuntimeError(
        'Traceback (most recent call last):\n  File "x.py", line 1, in process\n'
        f"darkroom.components.base.errors.DarkroomError: {message}\n"
    )


def test_ours_are_said_as_they_are() -> None:
    assert explain(DarkroomError("The label is gone. Bring it back.")) == (
        "The label is gone. Bring it back."
    )


@pytest.mark.parametrize("place", ["", " [while running 'Inspect[eval]/ParDo(_Inspect)']"])
def test_beam_hands_them_on_in_its_own_ways(place: str) -> None:
    sentence = "data.label_key is 'l', expected text or an integer there, found float."
    assert explain(DarkroomError(sentence + place)) == sentence
    assert explain(from_beam(sentence + place)) == sentence


def test_a_cause_behind_another_error() -> None:
    error = ValueError("something else")
    error.__cause__ = DarkroomError("The cause.")
    assert explain(error) == "The cause."


def test_a_server_of_beams_that_is_gone() -> None:
    with grpc.insecure_channel("localhost:1") as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/any")(b"")
        # As a job server tells it: in the text of a traceback.
        lines = traceback.format_exception(refused.value)
        told = explain(RuntimeError("Pipeline job-1 failed in state FAILED: " + "".join(lines)))
        assert told.startswith("A server that was asked over gRPC failed: UNAVAILABLE, failed to ")
        assert "\n" not in told
        with pytest.raises(grpc.FutureTimeoutError) as late:
            grpc.channel_ready_future(channel).result(timeout=0.1)
    assert explain(late.value).startswith("Beam's job server isn't there.")


def test_known_causes_and_others() -> None:
    assert explain(OSError("[Errno 28] No space left on device")).startswith("The disk is full.")
    assert explain(MemoryError()).startswith("Out of memory.")
    assert explain(KeyError("x")) == "KeyError: 'x'"


def test_an_interruption_is_one_and_hides_no_cause() -> None:
    assert explain(KeyboardInterrupt()) == "The run was interrupted."
    error = DarkroomError("The disk is full.")
    error.__context__ = KeyboardInterrupt()
    assert explain(error) == "The disk is full."
