"""The errors that are the user's to mend, and how they are said."""

import traceback


class DarkroomError(Exception):
    """A sentence for the user: what happened, where, expected, received, and the remedy.

    The command line prints it without a traceback and exits with a code other than 0.
    """


class UserCodeError(DarkroomError):
    """The user's own function raised; carries the user's traceback, without our frames."""

    def __init__(self, dotted_path: str, error: BaseException, source_file: str):
        frames = traceback.extract_tb(error.__traceback__)
        own = next((i for i, frame in enumerate(frames) if frame.filename == source_file), 0)
        shown = traceback.format_list(frames[own:]) + traceback.format_exception_only(error)
        super().__init__(f"{dotted_path} failed:\n{''.join(shown).rstrip()}")


def closest(word: str, choices: list[str]) -> str:
    """`` Did you mean 'x'?`` for the choice nearest to ``word``, else an empty string."""
    import difflib

    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def explain(error: BaseException) -> str:
    """Says in one sentence why a node failed: ours as they are, known causes, else the error."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for link in chain:
        if isinstance(link, DarkroomError):
            return str(link)
    text = " ".join(str(link) for link in chain)
    # The file system, SQLite and TensorFlow each word a full disk in their own way.
    if any(s in text for s in ("No space left on device", "disk is full", "disk I/O error")):
        return "The disk is full. Free some space, or point `root` at another disk, and run again."
    if any(isinstance(link, MemoryError) for link in chain):
        return "Out of memory. Lower training.batch_size or preprocessing.height and width."
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first_line}"
