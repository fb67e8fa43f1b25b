import ast
from pathlib import Path

from darkroom.pipeline.airflow import dag_file


def test_it_is_python_whatever_the_names_are() -> None:
    folder = Path("/data/Fotos \"ä\" 'b' \\ 🙂")
    overrides = ["data.path=/data/{{ ds }}", "report.limits='none\nat all'"]
    text = dag_file.text("flowers", folder / "flowers.yaml", overrides, folder)
    tree = ast.parse(text)
    call = tree.body[-1].value  # type: ignore[attr-defined]
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert given == {
        "config": str(folder / "flowers.yaml"),
        "overrides": overrides,
        "folder": str(folder),
    }
    # Airflow passes over files without these two words.
    assert "dag" in text
    assert "airflow" in text
