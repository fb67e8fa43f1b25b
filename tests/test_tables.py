"""Tables of images as people write them, in short: the text, and what is read."""

import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest.listing import Listing
from darkroom.pipeline.ingest.sources import list_images
from tests.layouts import counted, make

DECOMPOSED = unicodedata.normalize("NFD", "café")
HERE = "HERE"  # in a table's text: the folder that it is in


class Written(NamedTuple):
    """A table that lists some of ``FILES``."""

    name: str
    text: str
    expected: str = ""
    refused: str = ""  # the only row's reason
    notes: tuple[str, ...] = ()
    error: str = ""
    file: str = "list.csv"
    root: str = ""
    multi_label: bool = False
    encoding: str = "utf-8"


FILES = f"{{a,b,c}}.jpg deep/{{a,b,d}}.jpg twice/e.jpg both/e.jpg {DECOMPOSED}/{DECOMPOSED}.png"
BOTH = "cat 1, dog 1"
READ = [
    Written("the plain one", "path,label\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("columns in another order", "label,path\ncat,a.jpg\ndog,b.jpg\n", BOTH),
    Written("a mark of bytes", "path,label\na.jpg,cat\nb.jpg,dog\n", BOTH, encoding="utf-8-sig"),
    Written("lines of Windows", "path,label\r\na.jpg,cat\r\nb.jpg,dog\r\n", BOTH),
    Written("semicolons", "path;label\na.jpg;cat\nb.jpg;dog\n", BOTH),
    Written("semicolons, commas in labels", "path;label\na.jpg;red, big\nb.jpg;dog\n",
            "dog 1, red, big 1"),
    Written("Excel's first line", "sep=;\npath;label\na.jpg;cat\nb.jpg;dog\n", BOTH),
    Written("Excel's Unicode text", "path\tlabel\na.jpg\tcat\nb.jpg\tdog\n", BOTH,
            encoding="utf-16"),
    Written("tabs in a CSV", "path\tlabel\na.jpg\tcat\nb.jpg\tdog\n", BOTH),
    Written("TSV", "path\tlabel\na.jpg\tcat\nb.jpg\tdog, old\n", "cat 1, dog, old 1",
            file="list.tsv"),
    Written("spaces around", " path , label \n a.jpg , cat \n b.jpg , dog \n", BOTH),
    Written("empty lines", "path,label\n\na.jpg,cat\n\nb.jpg,dog\n\n", BOTH),
    Written("empty fields at the end", "path,label,,\na.jpg,cat,,\nb.jpg,dog,,,\n", BOTH),
    Written("quotes", 'path,label\n"a.jpg","house, red"\nb.jpg,dog\n', "dog 1, house, red 1"),
    Written("Path and Label", "Path,Label\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("FILE NAME and CLASS", "FILE NAME,CLASS\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("file_name", "file_name,label\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("filename", "filename,class\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("image", "image,label\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("image_path", "image_path,category\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("id with a suffix", "id,label\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("id without a suffix", "id,label\na,cat\nb,dog\n", BOTH),
    Written("id of a file below", "id,label\na,cat\nd,dog\n", BOTH,
            notes=("list.csv names 1 files that were found by their names alone, as d in deep/d",)),
    Written("Image, Id", "Image,Id\na.jpg,w_1\nb.jpg,w_2\n", "w_1 1, w_2 1",
            notes=("the column Id is taken for the label",)),
    Written("id, breed", "id,breed\na,pug\nb,beagle\n", "beagle 1, pug 1"),
    Written("id, has_cactus", "id,has_cactus\na.jpg,1\nb.jpg,0\n", "0 1, 1 1",
            notes=("the column has_cactus is taken for the label",)),
    Written("a path by what is in it", "what,label\na.jpg,cat\nb.jpg,dog\n", BOTH),
    Written("labels and their numbers", "path,label,class_id\na.jpg,cat,0\nb.jpg,dog,1\n", BOTH,
            notes=("labels are in label, not in class_id",)),
    Written("no header", "a.jpg,cat\nb.jpg,dog\n", BOTH, notes=("has no header",)),
    Written("backslashes", "path,label\ndeep\\a.jpg,cat\ndeep\\b.jpg,dog\n", BOTH),
    Written("a dot before", "path,label\n./a.jpg,cat\n.\\b.jpg,dog\n", BOTH),
    Written("absolute", f"path,label\n{HERE}/a.jpg,cat\n{HERE}/b.jpg,dog\n", BOTH),
    Written("of another machine", "path,label\n/content/set/deep/a.jpg,cat\n"
            "C:\\Users\\me\\deep\\b.jpg,dog\n", BOTH, notes=("names 2 files that were found",)),
    Written("up and down", "path,label\n../set/a.jpg,cat\ndeep/../b.jpg,dog\n", BOTH),
    Written("../images with --root", "path,label\n../a.jpg,cat\n../b.jpg,dog\n", BOTH,
            file="lists/list.csv", root="."),
    Written("--root is where paths start", "path,label\na.jpg,cat\nd.jpg,dog\n", BOTH,
            root="deep"),
    Written("composed accents", "path,label\ncafé/café.png,cat\nb.jpg,dog\n", BOTH),
    Written("decomposed accents", f"path,label\n{DECOMPOSED}/{DECOMPOSED}.png,cat\nb.jpg,dog\n",
            BOTH),
    Written("accents without a suffix", "path,label\ncafé/café,cat\nb.jpg,dog\n", BOTH),
    Written("splits", "path,label,split\na.jpg,cat,train\nb.jpg,dog,Validation\nc.jpg,dog,\n",
            "cat 1, dog 2; eval 1, train 1"),
    Written("subset", "path,label,subset\na.jpg,cat,training\nb.jpg,dog,testing\n",
            BOTH + "; test 1, train 1"),
    Written("is_valid", "path,label,is_valid\na.jpg,cat,False\nb.jpg,dog,True\n",
            BOTH + "; eval 1, train 1"),
    Written("one-hot", "image,MEL,NV\na,1.0,0.0\nb,0.0,1.0\n", "MEL 1, NV 1"),
    Written("one-hot with spaces (Roboflow)", "filename, cat, dog\na.jpg, 1, 0\nb.jpg, 0, 1\n",
            BOTH),
    Written("one-hot beside others", "id,age,cat,dog\na,7,1,0\nb,9,0,1\n", BOTH),
    Written("one-hot of -1 (CelebA)", "image_id,Male,Smiling\na.jpg,1,-1\nb.jpg,1,1\n",
            "Male 1, Male|Smiling 1", multi_label=True),
    Written("several, as a|b", "path,label\na.jpg,dog | cat\nb.jpg,\n", " 1, cat|dog 1",
            multi_label=True),
    Written("several rows of an image", "path,label\na.jpg,dog\na.jpg,cat\nb.jpg,cat\n",
            "cat 1, cat|dog 1", multi_label=True, notes=("1 further rows are about images",)),
    Written("boxes of one class each",
            "filename,width,class,xmin\na.jpg,9,cat,1\na.jpg,9,cat,2\nb.jpg,9,dog,1\n", BOTH,
            notes=("1 further rows are about images that were listed before",)),
    Written("JSON lines", '{"file_name": "a.jpg", "label": "cat"}\n\n'
            '{"file_name": "b.jpg", "label": "dog"}\n', BOTH, file="list.jsonl"),
    Written("JSON lines with numbers", '{"image": "a.jpg", "label": 0}\n'
            '{"image": "b.jpg", "label": 1}\n', "0 1, 1 1", file="list.ndjson"),
    Written("JSON lines with lists", '{"image": "a.jpg", "label": ["dog", "cat"]}\n',
            "cat|dog 1", file="list.jsonl", multi_label=True),
]  # fmt: skip
ROWS = [  # one row that is not read, beside two that are
    Written("unquoted comma", "c.jpg,house, red",
            refused="3 fields where the header has 2; a text with ',' in it needs quotes"),
    Written("no label", "c.jpg,", refused="no label"),
    Written("short", "c.jpg", refused="no label"),
    Written("no path", ",cat", refused="no path"),
    Written("outside", "../outside.jpg,cat", refused="outside .*--root names the folder"),
    Written("absolute, outside", "/etc/passwd,cat", refused="outside"),
    Written("an address", "https://example.com/1.jpg,cat", refused="an address, expected a file"),
    Written("two of that name", "e.jpg,cat",
            refused="not one file but 2 files: both/e.jpg, twice/e.jpg"),
    Written("two classes", "a.jpg,dog", refused="listed with several classes"),
]  # fmt: skip
REFUSED = [
    Written("no label", "path,width,height\na.jpg,1,2\n", error="label is missing, found path,"),
    Written("near", "path,labell,width\na.jpg,cat,1\n", error="Did you mean 'labell'"),
    Written("no path", "label,width\ncat,1\n", error="path is missing, found label, width"),
    Written("empty", "", error="path is missing, found nothing"),
    Written("only a header", "path,label\n", error="the manifest lists no images"),
    Written("case", "path,label\na.jpg,HAPPINESS\nb.jpg,happiness\nc.jpg,happiness\n",
            error=r"'happiness' \(2\), 'HAPPINESS' \(1\) differ in case.*of them as 'happiness'"),
    Written("spaces", "path,label\na.jpg,T  shirt\nb.jpg,T shirt\nc.jpg,T shirt\n",
            error=r"'T shirt' \(2\), 'T  shirt' \(1\) differ in case or spaces only"),
    Written("case of several", "path,label\na.jpg,x|Cat\nb.jpg,cat\n", multi_label=True,
            error="differ in case or spaces only"),
    Written("one class", "path,label\na.jpg,cat\nb.jpg,cat\n", error="all of one class, 'cat'"),
    Written("captions", "path,text\n" + "".join(f"{n}.jpg,text {n}\n" for n in range(30)),
            error="label is missing"),
    Written("our own features", "path,label,image/height\na.jpg,cat,3\n",
            error="image/height has the name of a feature"),
    Written("two columns of a name", "path,label,label\na.jpg,cat,cat\n",
            error="two columns are named label"),
    Written("other bytes", "path,label\na.jpg,café\n", encoding="latin-1",
            error="can't be read as CSV in UTF-8"),
    Written("JSON that is none", "a.jpg\n", file="list.jsonl", error="path is missing"),
    Written("a form of nobody", "x", file="list.xml",
            error="expected a folder, or a manifest whose name ends with .csv"),
]  # fmt: skip


def listing(root: Path, table: Written) -> Listing:
    folder = root / "set"
    make(folder, FILES)
    path = folder / table.file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(table.text.replace(HERE, str(folder)).encode(table.encoding))
    return list_images(path, table.multi_label, folder / table.root if table.root else None)


@pytest.mark.parametrize("table", READ, ids=[table.name for table in READ])
def test_tables_that_are_read(tmp_path: Path, table: Written) -> None:
    found = listing(tmp_path, table)
    assert counted(found) == table.expected
    assert not found.refused
    for expected in table.notes:
        assert any(re.search(expected, note) for note in found.notes), found.notes
    assert len(found.notes) == len(table.notes), found.notes
    assert all(Path(file.path).is_file() for file in found.files)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_rows_that_are_refused_do_not_lose_the_others(tmp_path: Path, row: Written) -> None:
    text = f"path,label\na.jpg,cat\nb.jpg,dog\ndeep/d.jpg,cat\n{row.text}\n"
    found = listing(tmp_path, row._replace(text=text))
    assert {"b.jpg", "deep/d.jpg"} <= {file.name for file in found.files}
    ((where, reason),) = found.refused
    assert re.search(row.refused, reason)
    assert where.startswith(("line 5", "a.jpg, cat, dog"))


@pytest.mark.parametrize("table", REFUSED, ids=[table.name for table in REFUSED])
def test_tables_that_are_refused(tmp_path: Path, table: Written) -> None:
    with pytest.raises(DarkroomError) as caught:
        listing(tmp_path, table)
    assert re.search(table.error, str(caught.value)), caught.value


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    make(tmp_path, "{a,b}.jpg")
    path = tmp_path / "list.parquet"
    rows = [
        {"file": "a.jpg", "label": 3, "year": 2020},
        {"file": "b.jpg", "label": 4, "year": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    files = list_images(path).files
    assert [(f.name, f.label, f.columns) for f in files] == [
        ("a.jpg", "3", (("year", "2020"),)),
        ("b.jpg", "4", (("year", ""),)),
    ]
    embedded = [{"image": {"bytes": b"x", "path": "a.jpg"}, "label": 1}]
    parquet.write_table(pyarrow.Table.from_pylist(embedded), path)
    with pytest.raises(DarkroomError, match="the column image holds the images themselves"):
        list_images(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DarkroomError, match="can't be read as parquet"):
        list_images(path)


@given(
    st.lists(
        st.text("abcé ,;\t\"'\\|", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=5
    )
)
def test_any_label_that_is_quoted_is_read(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    import csv

    root = tmp_path_factory.mktemp("set")
    names = [f"{number}.jpg" for number in range(len(labels))]
    make(root, " ".join(names))
    spelled = [f"{number} {label}" for number, label in enumerate(labels)]
    if len(spelled) == 1:
        return
    with open(root / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *zip(names, spelled, strict=True)])
    found = list_images(root / "list.csv").files
    assert [(f.name, f.label) for f in found] == list(zip(names, spelled, strict=True))
    with open(root / "list.jsonl", "w", encoding="utf-8") as file:
        for name, label in zip(names, spelled, strict=True):
            file.write(json.dumps({"path": name, "label": label}) + "\n")
    assert list_images(root / "list.jsonl").files == found


NUMBERS = "path,label,x,y\na.jpg,cat,1.5,-2\nb.jpg,dog,1e3,0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path, "{a,b,c}.jpg")
    return tmp_path


def test_columns_of_numbers_stand_for_the_label(folder: Path) -> None:
    path = folder / "list.csv"
    path.write_text(NUMBERS)
    listed = list_images(path, numbers=["x", "y"])
    assert [file.label for file in listed.files] == ["1.5|-2", "1e3|0"]
    assert [dict(file.columns) for file in listed.files] == [{"label": "cat"}, {"label": "dog"}]


@pytest.mark.parametrize("cell", ["", "cat", "nan", "inf", "1,5", "1 2"])
def test_what_is_no_number_is_refused(folder: Path, cell: str) -> None:
    path = folder / "list.csv"
    path.write_text(f'{NUMBERS}c.jpg,dog,"{cell}",1\n')
    [(line, reason)] = list_images(path, numbers=["x"]).refused
    assert line == "line 4, c.jpg"
    assert reason == f"x is {cell!r}, expected a finite number"


def test_numbers_that_say_nothing_are_a_sentence(folder: Path) -> None:
    path = folder / "list.csv"
    path.write_text(NUMBERS)
    with pytest.raises(DarkroomError, match=r"--number X: there is no such column, found path"):
        list_images(path, numbers=["X"])
    with pytest.raises(DarkroomError, match="--number is a column of a table"):
        list_images(folder, numbers=["x"])
    path.write_text("path,x\na.jpg,1\nb.jpg,1.0\n")
    with pytest.raises(DarkroomError, match="x is 1 of all 2 images: there is nothing to learn"):
        list_images(path, numbers=["x"])
    path.write_text("path,x\na.jpg,1\na.jpg,2\nb.jpg,3\n")
    [(_, reason)] = list_images(path, numbers=["x"]).refused
    assert reason == "listed with several numbers"
