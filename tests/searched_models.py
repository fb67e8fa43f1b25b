"""Models of users that are searched. Light to import, for the processes of trials."""

import os
from pathlib import Path
from typing import Any

import keras


def broken_for_some(hp: Any, config: Any, num_classes: int) -> keras.Model:
    units = hp.Choice("units", [4, 8])
    if units == 8:
        raise ValueError("8 units are too many")
    images = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(num_classes)(keras.layers.Flatten()(images))
    model = keras.Model(images, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def broken_for_all(hp: Any, config: Any, num_classes: int) -> keras.Model:
    hp.Choice("units", [4, 8])
    if Path(os.environ["DARKROOM_TEST_BROKEN"]).exists():
        raise ValueError("no units are right")
    return broken_for_some(type(hp)(), config, num_classes)


def fixed(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return broken_for_some(type(hp)(), config, num_classes)


def layered(hp: Any, config: Any, num_classes: int) -> keras.Model:
    for number in range(hp.Int("layers", 1, 2)):
        hp.Choice(f"units_{number}", [4, 8])
    return broken_for_some(type(hp)(), config, num_classes)


def named_badly(hp: Any, config: Any, num_classes: int) -> keras.Model:
    hp.Choice("score", [4, 8])
    return broken_for_some(type(hp)(), config, num_classes)
