import pytest
import tensorflow as tf

from darkroom.components.base.errors import DarkroomError
from darkroom.components.training import devices


def test_too_late_is_a_sentence() -> None:
    tf.constant(0)  # TensorFlow has been used
    with pytest.raises(DarkroomError, match=r"cpu_replicas is 64, and TensorFlow began"):
        devices.split_cpu(64)
