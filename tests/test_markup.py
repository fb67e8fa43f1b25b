from darkroom.components.report import markup


def test_words_are_shown_as_they_are() -> None:
    assert markup.text("a|b &\n`c` *d*  <e> _f_ [g](h) #1 ~2~ \\") == (
        r"a\|b &amp; \`c\` \*d\* &lt;e&gt; \_f\_ \[g\](h) \#1 \~2\~ " + "\\\\"
    )


def test_a_table() -> None:
    assert markup.table(["a|b", "n"], [["c|d", "1"]], 1) == (
        "| a\\|b | n |\n| --- | --: |\n| c\\|d | 1 |"
    )
    assert markup.table(["a"], [], 1) == ""
    folded = markup.table(["a"], [["b"]] * 3, 1, "3 rows", 2)
    assert folded.startswith("<details><summary>3 rows</summary>\n\n| a |\n")
    assert markup.bullets(["a", "*b*"]) == "- a\n- \\*b\\*"
