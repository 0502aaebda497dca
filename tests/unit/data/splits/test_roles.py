from collections import Counter

import pytest
from tests.unit.data.folders import write

from metadcseg.data.splits.roles import assign_roles, draw_gold, limit_training, read_splits, split_groups
from metadcseg.errors import InputError

ONE_EACH = {f"c{number:03d}": f"c{number:03d}" for number in range(200)}
PATIENTS = {f"c{number:03d}": f"p{number // 7}" for number in range(203)}
IDS = ("a", "b", "c", "d")


def test_shares_are_met_exactly_where_every_case_is_its_own_group():
    counts = Counter(assign_roles(ONE_EACH, val=0.15, test=0.2).values())
    assert counts == {"train": 130, "val": 30, "test": 40}
    assert set(assign_roles(ONE_EACH, val=0, test=0).values()) == {"train"}


def test_groups_stay_together_and_shares_are_near():
    roles = assign_roles(PATIENTS, seed=3)
    assert not split_groups((case, role, PATIENTS[case]) for case, role in roles.items())
    counts = Counter(roles.values())
    assert abs(counts["test"] - 20.3) <= 3.5
    assert abs(counts["val"] - 20.3) <= 3.5


def test_a_split_follows_from_seed_and_names_not_from_order():
    backwards = dict(reversed(PATIENTS.items()))
    assert assign_roles(PATIENTS, seed=1) == assign_roles(backwards, seed=1)
    assert assign_roles(PATIENTS, seed=1) != assign_roles(PATIENTS, seed=2)
    more = assign_roles(ONE_EACH | {"new": "new"}, seed=1)
    before = assign_roles(ONE_EACH, seed=1)
    assert sum(more[case] != role for case, role in before.items()) <= 3


def test_every_role_is_filled_even_in_a_tiny_folder():
    assert Counter(assign_roles({"a": "a", "b": "b", "c": "c"}).values()) == {"train": 1, "val": 1, "test": 1}
    with pytest.raises(InputError, match="at least 3 are needed"):
        assign_roles({"a": "a", "b": "b"})
    with pytest.raises(InputError, match="at least 3 are needed"):
        assign_roles({"a": "p", "b": "p", "c": "p", "d": "p"})
    assert assign_roles({}) == {}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.1), (1.0, 0.0), (float("nan"), 0.1)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(InputError, match="lower them"):
        assign_roles(ONE_EACH, val=shares[0], test=shares[1])


def test_shares_that_leave_no_training_case_are_refused():
    with pytest.raises(InputError, match="no training case"):
        assign_roles({"a": "a", "b": "b", "c": "c"}, val=0.1, test=0.8)


def test_gold_is_a_share_or_a_number():
    assert len(draw_gold(ONE_EACH, 0.02)) == 4
    assert len(draw_gold(ONE_EACH, 0.0001)) == 1
    assert len(draw_gold(ONE_EACH, 16)) == 16
    assert draw_gold(ONE_EACH, 0) == set()
    assert draw_gold(ONE_EACH, 4, seed=5) < draw_gold(ONE_EACH, 8, seed=5)
    assert draw_gold(ONE_EACH, 8, seed=5) == draw_gold(list(reversed(ONE_EACH)), 8, seed=5)
    assert draw_gold(ONE_EACH, 8, seed=5) != draw_gold(ONE_EACH, 8, seed=6)
    for impossible in (200, 201, -1, -0.5, 1.0, 0.999, float("nan")):
        with pytest.raises(InputError, match="gold is a share"):
            draw_gold(ONE_EACH, impossible)


def test_a_limit_spares_the_other_roles():
    roles = assign_roles(ONE_EACH)
    kept = Counter(limit_training(roles, 30).values())
    assert kept == {"train": 30, "val": 20, "test": 20}
    assert limit_training(roles, None) == roles
    assert limit_training(roles, 10_000) == roles
    assert set(limit_training(roles, 10)) < set(limit_training(roles, 20))
    with pytest.raises(InputError, match="limit"):
        limit_training(roles, 0)


# splits.csv


def sentences(tmp_path, text, ids=IDS):
    return [finding.sentence for finding in read_splits(write(tmp_path / "splits.csv", text), ids)[1]]


def test_a_good_table_is_read(tmp_path):
    text = "id,role,group\na,train,P1\nb.png,gold,P1\n\nc, val ,P2\nd,test,\n"
    rows, findings = read_splits(write(tmp_path / "splits.csv", text), IDS)
    assert not findings
    assert {case: (row.role, row.group) for case, row in rows.items()} == {
        "a": ("train", "P1"),
        "b": ("gold", "P1"),
        "c": ("val", "P2"),
        "d": ("test", None),
    }


def test_either_column_may_be_left_out_and_spreadsheets_are_understood(tmp_path):
    rows, findings = read_splits(write(tmp_path / "a.csv", "\ufeffID;Group\na;1\nb;1\nc;2\nd;2\n"), IDS)
    assert not findings
    assert rows["d"].group == "2"
    assert rows["d"].role is None
    assert not sentences(tmp_path, "id,role\na,train\nb,train\nc,val\nd,test\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,role\na,trian\nb,val\nc,test\nd,gold\n", "line 2: unknown role 'trian': did you mean 'train'?"),
        ("id,role\na,train\nb,\nc,test\nd,gold\n", "line 3: unknown role ''"),
        (
            "id,role\na,train\nb,train\nc,test\nd,gold\nbb,val\n",
            "line 6: there is no case 'bb': did you mean 'b'?",
        ),
        ("id,role\na,train\nb,train\nc,test\nd,gold\na,val\n", "line 6: case 'a' stands in line 2 already"),
        ("id,role\na,train\nb,train\n", "does not list 2 of 4 cases (c, d)"),
        (
            "id,role,group\na,train,P\nb,test,P\nc,val,Q\nd,gold,R\n",
            "line 3: group 'P' is in role train (a) and in",
        ),
        ("name,role\na,train\n", "the first line names the columns"),
        ("", "the first line names the columns"),
        ('id,role\n"a,train\n', "cannot be read as a table"),
    ],
)
def test_every_mistake_is_named_with_its_line(tmp_path, text, expected):
    found = sentences(tmp_path, text)
    assert len(found) == 1
    assert expected in found[0]
    assert "splits.csv" in found[0]


def test_all_mistakes_are_found_at_once(tmp_path):
    assert (
        len(sentences(tmp_path, "id,role\na,trian\nx,val\nb,test\nb,test\n")) == 4
    )  # and c, d are not listed


def test_bytes_that_are_no_text_are_one_finding(tmp_path):
    (tmp_path / "splits.csv").write_bytes(b"\xff\xfe\x00")
    assert len(read_splits(tmp_path / "splits.csv", IDS)[1]) == 1


def test_gold_may_share_a_group_with_train_but_not_with_test():
    assert not split_groups([("a", "train", "P"), ("b", "gold", "P")])
    assert split_groups([("a", "gold", "P"), ("b", "test", "P")]) == {"P": ("a", "b")}
