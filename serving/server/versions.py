"""The versions of a model in its folder, and those of them that should be served."""

import re

import tensorflow as tf

from darkroom.serving.server.server_config import ModelConfig

_LARGEST = 2**63 - 1  # int64 on the wire


def find(base_path: str) -> dict[int, str]:
    """The folders of a model's versions by number; what has another name is ignored.

    Args:
      base_path: of the model, local or of a file system that TensorFlow knows.

    Raises:
      OSError: it can't be listed.
    """
    try:
        names = tf.io.gfile.listdir(base_path)
    except tf.errors.OpError as error:
        raise OSError(f"{base_path}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise OSError(f"{base_path}: a name in it is not UTF-8") from error
    bare = (name.rstrip("/") for name in names)
    return {
        int(name): f"{base_path.rstrip('/')}/{name}"
        for name in bare
        if re.fullmatch("[0-9]+", name) and int(name) <= _LARGEST
    }


def wanted(config: ModelConfig, found: dict[int, str]) -> tuple[dict[int, str], set[int]]:
    """Those of the versions found that the policy asks for, and what it asks for in vain.

    Without a policy that is the newest.
    """
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return found, set()
    if kind == "specific":
        asked = set(policy.specific.versions)
        return {version: found[version] for version in asked & set(found)}, asked - set(found)
    count = policy.latest.num_versions or 1
    return {version: found[version] for version in sorted(found)[-count:]}, set()
