"""A configuration with what its recipe chooses: the same for every runner."""

from collections.abc import Callable

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config
from darkroom.pipeline.recipe import facts, rules


def applied(config: Config, say: Callable[[str], None]) -> Config:
    """The configuration as it runs; ``say`` gets a line for each choice.

    Raises a DarkroomError where the data can't be read, or what is set contradicts the recipe.
    """
    if config.training.recipe == "none":
        return config
    seen, machine = facts.of(config), facts.Machine.here()
    if seen.images == 0:
        raise DarkroomError(
            "training.recipe: auto chooses by the images, and none can be read from here at "
            f"{config.data_path}. Do this where they are, or set recipe to none."
        )
    choices = rules.chosen(config, seen, machine)
    values = {key: value for choice in choices for key, value in choice.values.items()}
    try:
        chosen = config.with_choices(values)
    except DarkroomError as error:
        raise DarkroomError(
            f"training.recipe is auto, and what it chooses doesn't go with what is set: {error} "
            "Set the key otherwise, or recipe to none."
        ) from error
    gpus = f"{machine.gpus} GPUs" if machine.gpus else "no GPU"
    classes = f"{seen.images:,} images" + f" of {len(seen.classes)} classes" * bool(seen.classes)
    say(f"recipe  {classes}, {seen.height}×{seen.width}; {machine.cores} cores, {gpus}")
    for choice in choices:
        named = ", ".join(f"{key}={value}" for key, value in choice.values.items())
        say(f"  {choice.why}: {named}")
    return chosen
