import keras_tuner
import pytest

from darkroom.components.tuning import messages

HP = keras_tuner.HyperParameters()
HP.Choice("units", [4, 8])


@pytest.mark.parametrize(
    "message",
    [
        messages.Order("0", HP.get_config()),
        messages.Progress("epoch 1/2", None),
        messages.Ended("COMPLETED", {"loss": 0.5}, 1, None, HP.get_config()),
    ],
)
def test_what_is_said_is_heard(message: messages.Message) -> None:
    line = messages.encode(message)
    assert "\n" not in line
    heard = messages.decode(line)
    assert (type(heard), heard) == (type(message), message)


def test_half_a_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="Unterminated"):
        messages.decode(messages.encode(messages.Progress("epoch", 0.5))[:-9])
