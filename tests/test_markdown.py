import re
from pathlib import Path

from darkroom.components.report import markdown as written
from darkroom.components.report.markdown import markdown
from tests.report_facts import DIGITS, HOSTILE, SECTIONS, facts, without_predictions


def tables(text: str) -> list[list[list[str]]]:
    """Cells as GitHub splits them: at each bar that no backslash stands before."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", text, flags=re.MULTILINE)
    return [
        [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.strip().splitlines()]
        for block in blocks
    ]


def test_a_comment_says_the_verdict_first(tmp_path: Path) -> None:
    text = markdown(facts(tmp_path))
    assert text.startswith("## ✗ digits: Not blessed\n")
    assert "- recall of '0' is 0.61, must be at least 0.80\n" in text
    assert "| ✗ missed | Recall of 0 | at least 0.8 | 0.6100 | 0.360 to 0.830 | 0.8300 |" in text
    assert "| Loss | 0.2000 | – | 0.9000 | −0.7000 better |" in text
    assert (
        "| ✓ passed | Accuracy | lower than the baseline by at most 0.01 | 0.9600 "
        "| change −0.004 to +0.120 | 0.9000 |" in text
    )
    assert "| 0 | 0.611 | 0.611 | 0.611 | 18 |" in text
    assert "| macro average | 0.970 | 0.960 | 0.959 | 180 |" in text
    assert "- version 0002-3f9a1c52\n- train: 1,600 images, 10 classes of 160 to 160\n" in text
    assert "- epoch 3 of 4 was exported: loss 0.5000, val\\_loss 0.6000" in text
    assert "- cnn, 12,345 parameters, 1.20 MiB, 1.9 ms per request in the median" in text
    assert "- served by darkroom's model server: ready after 4.2 s; memory 413 MiB;" in text
    assert "git commit 0123456789 on main" in text
    assert " examples of the eval split, against version 1795700000\n" in text
    assert "### Intended use\n\nDigits of forms.\n" in text
    assert "### Limits" not in text  # nothing was written there
    assert len(text) < 60_000  # of 65,536 characters that GitHub takes


def test_names_stay_in_their_cells(tmp_path: Path) -> None:
    text = markdown(facts(tmp_path, HOSTILE))
    assert "<script" not in text
    assert "<img" not in text
    assert r"a\|b &amp; \`c\` \*d\*" in text
    found = tables(text)
    assert len(found) == 4
    for rows in found:
        assert {len(row) for row in rows} == {len(rows[0])}


def test_many_classes_are_folded(tmp_path: Path) -> None:
    def folded(many: int) -> bool:
        return f"<summary>{many} classes</summary>\n\n| class" in markdown(
            facts(tmp_path, [f"class {i}" for i in range(many)])
        )

    assert not folded(20)
    assert folded(21)


def test_a_run_that_did_not_get_far_has_a_comment(tmp_path: Path) -> None:
    for reached in range(len(SECTIONS)):
        text = markdown(facts(tmp_path, DIGITS, reached))
        assert "Not evaluated" in text
        assert ("### Data" in text) == (reached > 0)
        assert ("### Evaluation" in text) == (reached > SECTIONS.index("evaluation"))
    found = facts(tmp_path, reached=0)
    found["failure"] = {"node": "Trainer", "sentence": "No | number."}
    assert markdown(found).startswith("## ✗ digits: Trainer failed\n\nNo \\| number.\n")


def test_an_evaluation_without_predictions_has_a_comment(tmp_path: Path) -> None:
    text = markdown(without_predictions(facts(tmp_path)))
    assert "- the eval split gave no predictions\n" in text
    assert "### Evaluation on 0 examples of the eval split\n\n### Data" in text


def test_words_are_shown_as_they_are() -> None:
    assert written.text("a|b &\n`c` *d*  <e> _f_ [g](h) #1 ~2~ \\") == (
        r"a\|b &amp; \`c\` \*d\* &lt;e&gt; \_f\_ \[g\](h) \#1 \~2\~ " + "\\\\"
    )


def test_a_table() -> None:
    assert written.table(["a|b", "n"], [["c|d", "1"]], 1) == (
        "| a\\|b | n |\n| --- | --: |\n| c\\|d | 1 |"
    )
    assert written.table(["a"], [], 1) == ""
    folded = written.table(["a"], [["b"]] * 3, 1, "3 rows", 2)
    assert folded.startswith("<details><summary>3 rows</summary>\n\n| a |\n")
    assert written.bullets(["a", "*b*"]) == "- a\n- \\*b\\*"
