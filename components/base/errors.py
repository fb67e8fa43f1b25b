"""The errors that are the user's to mend, and how they are said."""

import os
import re
import sys
import traceback

from darkroom.serving import interrupts

# What Beam adds to the message of an error that comes out of a step.
_BEAMS_PLACE = re.compile(r" \[while running .*")
# Files whose lines say nothing to a user about the user's own code.
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_NOT_THEIRS = re.compile(rf"^{re.escape(_OURS)}|importlib|-packages.(?:keras|tensorflow)\W")
# What gRPC says of a call that failed, among much else.
_RPC_FAILED = re.compile(r'status = StatusCode\.(\w+)\s+details = "(.*)"')
_OUR_NAME = re.compile(rf"^{re.escape(__name__)}\.\w+: ")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class DarkroomError(Exception):
    """A sentence for the user: what happened, where, expected, received, and the remedy.

    The command line prints it without a traceback and exits with its code.
    """

    exit_code = 1


class ConfigurationError(DarkroomError):
    """The configuration is wrong, as a command line can be: the command exits as of one."""

    exit_code = 2


class UserCodeError(DarkroomError):
    """The user's own code raised; carries the user's traceback, without our frames."""

    def __init__(self, who: str, error: BaseException, failed: str = "failed"):
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not _NOT_THEIRS.search(frame.filename)
        ]
        shown = traceback.format_list(frames) + traceback.format_exception_only(error)
        super().__init__(f"{who} {failed}:\n{_COLOURS.sub('', ''.join(shown)).rstrip()}")


def not_installed(needs: str, error: ImportError, extra: str) -> DarkroomError:
    """Says who needs what, and the extra of darkroom's that brings it."""
    # TFX 1.16 says that it needs a Python below 3.11, and works with it.
    anyway = " --ignore-requires-python" * (sys.version_info[:2] == (3, 11))
    install = f"pip install 'darkroom-tfx[{extra}]'{anyway} --constraint \"$(darkroom lock)\"."
    return DarkroomError(f"{needs}, and {error.name} can't be imported: {install}")


def closest(word: str, choices: list[str]) -> str:
    """`` Did you mean 'x'?`` for the choice nearest to ``word``, else an empty string."""
    import difflib

    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def was_interrupted(error: BaseException) -> bool:
    """Whether an error is Ctrl-C, or what Beam made of it, or came after it."""
    beams = f"{KeyboardInterrupt.__name__} [while running "
    return interrupts.came() or any(
        isinstance(link, KeyboardInterrupt) or str(link).startswith(beams) for link in _chain(error)
    )


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and those that it came of."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def explain(error: BaseException) -> str:
    """Says in one sentence why a node failed: ours as they are, known causes, else the error."""
    if isinstance(error, KeyboardInterrupt):
        return "The run was interrupted."
    chain = _chain(error)
    for link in chain:
        if isinstance(link, DarkroomError):
            return _BEAMS_PLACE.sub("", str(link))
    text = " ".join(str(link) for link in chain)
    # The file system, SQLite and TensorFlow each word a full disk in their own way.
    if any(s in text for s in ("No space left on device", "disk is full", "disk I/O error")):
        return "The disk is full. Free some space, or point `root` at another disk, and run again."
    if any(isinstance(link, MemoryError) for link in chain):
        return "Out of memory. Lower training.batch_size or preprocessing.height and width."
    text = str(error).strip() or "no message"
    failed_calls = _RPC_FAILED.findall(text)
    if failed_calls:
        status, details = failed_calls[-1]
        return f"A server that was asked over gRPC failed: {status}, {details}."
    if type(error).__name__ == "FutureTimeoutError":  # gRPC's, of a connection
        return "Beam's job server isn't there. Start it, or correct beam.job_endpoint."
    if "Traceback (most recent call last)" in text:
        # Beam and KerasTuner hand on an error as the text of its traceback.
        causes = re.findall(r"^[A-Za-z_][\w.]*(?:Error|Exception): .*", text, re.MULTILINE)
        if causes:
            return _OUR_NAME.sub("", _BEAMS_PLACE.sub("", causes[-1]))
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename} can't be used: {error.strerror}."
    return f"{type(error).__name__}: {text.splitlines()[0]}"
