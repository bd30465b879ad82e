"""Documents come back as they went out, and anything else is rejected with its place named."""

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overfly.runtime.documents import ADDED_LATER, dump_document, read_document, write_document
from overfly.runtime.errors import BundleError, DocumentError

SCHEMA = "overfly.tree/1"


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    count: int
    ratio: float
    whole: bool
    note: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    leaf: Leaf
    spare: Leaf | None
    leaves: tuple[Leaf, ...]
    pair: tuple[int, str]
    names: tuple[str, ...]
    by_name: dict[str, Leaf]
    ratios: dict[str, float]
    deep: dict[str, tuple[float | None, ...]]

    def __post_init__(self):
        if self.pair[0] < 0:
            raise ValueError(f"the pair starts with {self.pair[0]}, expected 0 or more")


finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.builds(Leaf, st.text(), st.integers(), finite, st.booleans(), st.none() | st.text())
trees = st.builds(
    Tree,
    leaf=leaves,
    spare=st.none() | leaves,
    leaves=st.lists(leaves, max_size=3).map(tuple),
    pair=st.tuples(st.integers(min_value=0), st.text()),
    names=st.lists(st.text(), max_size=3).map(tuple),
    by_name=st.dictionaries(st.text(), leaves, max_size=3),
    ratios=st.dictionaries(st.text(), finite, max_size=3),
    deep=st.dictionaries(st.text(), st.lists(st.none() | finite, max_size=3).map(tuple), max_size=3),
)
whole_floats = st.integers(-(2**53), 2**53)  # those that a float holds exactly
json_values = st.recursive(
    st.none() | st.booleans() | whole_floats | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
with_tmp_path = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

LEAF = Leaf("oak", 3, 0.5, True, None)
TREE = Tree(LEAF, None, (LEAF,), (1, "x"), ("a", "b"), {"a": LEAF}, {"r": 1.0}, {"d": (None, 2.0)})


@pytest.fixture
def edited(tmp_path):
    """A function that writes TREE's document after a change to its content, and returns its path."""

    def write(change):
        content = json.loads(dump_document(TREE, schema=SCHEMA))
        change(content)
        path = tmp_path / "tree.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


@with_tmp_path
@given(tree=trees)
def test_round_trip(tmp_path, tree):
    write_document(tmp_path / "tree.json", tree, schema=SCHEMA)
    assert read_document(tmp_path / "tree.json", Tree, schema=SCHEMA) == tree


@with_tmp_path
@given(field=st.sampled_from([f.name for f in dataclasses.fields(Tree)]), value=json_values)
def test_any_value_in_any_place_is_read_or_rejected(tmp_path, field, value):
    content = json.loads(dump_document(TREE, schema=SCHEMA))
    path = tmp_path / "tree.json"
    path.write_text(json.dumps({**content, field: value}), encoding="utf-8")
    try:
        tree = read_document(path, Tree, schema=SCHEMA)
    except DocumentError as error:
        assert field in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert json.loads(dump_document(tree, schema=SCHEMA))[field] == value


@dataclasses.dataclass(frozen=True, slots=True)
class Shrub:
    name: str
    height: tuple[float, float] | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    evergreen: bool = dataclasses.field(default=False, metadata=ADDED_LATER)


def test_a_field_that_older_files_lack_has_its_default_which_is_not_written(tmp_path):
    path = tmp_path / "shrub.json"
    text = f'{{\n "schema": "{SCHEMA}",\n "name": "box"\n}}\n'
    path.write_text(text, encoding="utf-8")
    old = read_document(path, Shrub, schema=SCHEMA)
    assert old == Shrub("box", None, evergreen=False)
    assert dump_document(old, schema=SCHEMA) == text
    new = Shrub("box", (0.5, 1.5), evergreen=True)
    write_document(path, new, schema=SCHEMA)
    assert read_document(path, Shrub, schema=SCHEMA) == new


def test_the_schema_comes_first_and_text_is_readable():
    text = dump_document(dataclasses.replace(LEAF, name="chêne"), schema=SCHEMA)
    assert text.startswith('{\n "schema": "overfly.tree/1",\n "name": "ch')
    assert text.endswith("}\n")
    assert json.loads(text)["name"] == "chêne"


def test_whole_numbers_are_read_as_floats_but_not_the_other_way_round(edited):
    tree = read_document(edited(lambda c: c["leaf"].update(ratio=2)), Tree, schema=SCHEMA)
    assert (tree.leaf.ratio, type(tree.leaf.ratio)) == (2.0, float)
    with pytest.raises(DocumentError, match=r"count is 2\.0"):
        read_document(edited(lambda c: c["leaf"].update(count=2.0)), Tree, schema=SCHEMA)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(bark=1), "the file has the unknown key 'bark'"),
        (lambda c: c["leaf"].update(bark=1), "the file: leaf has the unknown key 'bark'"),
        (lambda c: c.pop("pair"), "the file lacks the key 'pair'"),
        (lambda c: c["leaves"][0].pop("note"), "the file: leaves[0] lacks the key 'note'"),
        (lambda c: c["leaf"].update(name=1), "the file: leaf: name is 1, expected str"),
        (lambda c: c["leaf"].update(name=None), "the file: leaf: name is None, expected str"),
        (lambda c: c["leaf"].update(count="3"), "the file: leaf: count is '3', expected int"),
        (lambda c: c["leaf"].update(count=True), "the file: leaf: count is True, expected int"),
        (lambda c: c["leaf"].update(whole=1), "the file: leaf: whole is 1, expected bool"),
        (lambda c: c["leaf"].update(note=5), "the file: leaf: note is 5, expected str"),
        (lambda c: c.update(leaf=[]), "the file: leaf is [], expected an object"),
        (lambda c: c.update(leaves={}), "the file: leaves is {}, expected an array"),
        (lambda c: c.update(pair=[1]), "the file: pair has 1 elements, expected 2"),
        (lambda c: c.update(names=["a", 2]), "the file: names[1] is 2, expected str"),
        (lambda c: c.update(names=[None]), "the file: names[0] is None, expected str"),
        (lambda c: c.update(by_name=[]), "the file: by_name is [], expected an object"),
        (lambda c: c["ratios"].update(r="no"), "the file: ratios: r is 'no', expected float"),
        (lambda c: c.update(pair=[-1, "x"]), "the file: the pair starts with -1, expected 0 or more"),
    ],
)
def test_a_misfit_is_named_with_its_place(edited, change, complaint):
    path = edited(change)
    with pytest.raises(BundleError) as caught:
        read_document(path, Tree, schema=SCHEMA, error=BundleError)
    assert str(caught.value) == (
        f"{path} is not a valid {SCHEMA} document: {complaint}; make or copy {path.name} again"
    )


FOREIGN = "it was not written by overfly; pass another file"


@pytest.mark.parametrize(
    ("schema", "found", "reason"),
    [
        ("overfly.tree/2", "schema 'overfly.tree/2'", "it was written by another version of overfly"),
        ("overfly.run/1", "schema 'overfly.run/1'", "it is another kind of file; pass another one"),
        (None, "no schema", FOREIGN),
        ("coco", "schema 'coco'", FOREIGN),
        (1, "schema 1", FOREIGN),
    ],
)
def test_an_unknown_schema_is_rejected(edited, schema, found, reason):
    path = edited(lambda c: c.update(schema=schema))
    with pytest.raises(DocumentError) as caught:
        read_document(path, Tree, schema=SCHEMA)
    assert str(caught.value) == f"{path} has {found}, expected 'overfly.tree/1': {reason}"


def test_a_byte_order_mark_is_no_content(edited):
    path = edited(lambda _: None)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_document(path, Tree, schema=SCHEMA) == TREE


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2", b"not json", b"\xff\xfe\x00", b'{"a": 1} trailing', pytest.param(b"[" * 10**5, id="deep")],
)
def test_a_file_that_is_no_json(tmp_path, content):
    path = tmp_path / "tree.json"
    path.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        read_document(path, Tree, schema=SCHEMA)
    assert str(caught.value).startswith(f"{path} can't be read as JSON (")
    assert str(caught.value).endswith(f"): make or copy {path.name} again")


@pytest.mark.parametrize(
    ("content", "kind"),
    [("[]", "an array"), ("null", "a single value"), ("3", "a single value"), ('"overfly.tree/1"', "a single value")],
)
def test_json_that_is_no_document(tmp_path, content, kind):
    path = tmp_path / "tree.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        read_document(path, Tree, schema=SCHEMA)
    assert str(caught.value) == f"{path} holds {kind}, expected an object with schema {SCHEMA!r}: pass another file"


def test_a_missing_file(tmp_path):
    path = tmp_path / "tree.json"
    with pytest.raises(BundleError) as caught:
        read_document(path, Tree, schema=SCHEMA, error=BundleError)
    assert str(caught.value) == f"{path} is missing: expected a file with schema {SCHEMA}; is {path.parent} complete?"


def test_a_folder_in_the_files_place(tmp_path):
    with pytest.raises(DocumentError) as caught:
        read_document(tmp_path, Tree, schema=SCHEMA)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_word_for_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match=str(value)):
        write_document(tmp_path / "leaf.json", dataclasses.replace(LEAF, ratio=value), schema=SCHEMA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_no_word_for_is_not_read(tmp_path, word):
    path = tmp_path / "leaf.json"
    path.write_text(dump_document(LEAF, schema=SCHEMA).replace("0.5", word), encoding="utf-8")
    with pytest.raises(DocumentError, match=word):
        read_document(path, Leaf, schema=SCHEMA)


@pytest.mark.parametrize(
    ("digits", "said"),
    [
        ("1" + "0" * 400, "ratio .* 401 digits"),
        ("-1e905", r"leaf\.json .*-1e905"),
    ],
)
def test_a_number_too_large_for_a_float_is_rejected(tmp_path, digits, said):
    path = tmp_path / "leaf.json"
    path.write_text(dump_document(LEAF, schema=SCHEMA).replace("0.5", digits), encoding="utf-8")
    with pytest.raises(DocumentError, match=said):
        read_document(path, Leaf, schema=SCHEMA)


def test_a_file_name_that_is_no_utf8_survives(tmp_path):
    # What os.fsdecode makes of b"caf\xe9.tif" on Linux.
    leaf = dataclasses.replace(LEAF, name="caf\udce9.tif")
    write_document(tmp_path / "leaf.json", leaf, schema=SCHEMA)
    assert read_document(tmp_path / "leaf.json", Leaf, schema=SCHEMA) == leaf
