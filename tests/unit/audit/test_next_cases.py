"""Which cases to verify next: spread over annotators, over bad and good masks, and over patients."""

from collections import Counter

import pytest
from tests.unit.audit.simulated import simulate
from tests.unit.data.folders import make_folder

from metadcseg.audit.next_cases import next_cases
from metadcseg.audit.records import AuditedCase
from metadcseg.audit.verify_next import verify_next
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError


def case(number, dsc, annotator=None, group=None):
    about = (f"c{number:03d}", f"c{number:03d}", "train", (1, 9, 9), None, dsc, (0.0, 1.0), ())
    return AuditedCase(*about, annotator=annotator, group=group)


def test_annotators_get_as_much_as_is_open_of_them():
    many = [case(n, 0.5 + n / 1000, "anna") for n in range(60)]
    few = [case(100 + n, 0.5 + n / 1000, "ben") for n in range(20)]
    drawn = Counter(choice.case.annotator for choice in next_cases([*many, *few], 12))
    assert drawn == {"anna": 9, "ben": 3}
    drawn = Counter(choice.case.annotator for choice in next_cases([*many, *few], 12, pairs={"anna": 20}))
    assert drawn == {"anna": 4, "ben": 8}


def test_bad_middling_and_good_masks_are_all_shown():
    held = [case(n, n / 100) for n in range(100)]
    for count, parts in ((3, 3), (9, 3), (16, 4)):
        places = [int(choice.case.dsc * 100) for choice in next_cases(held, count)]
        shares = Counter(place * parts // 100 for place in places)
        assert len(set(places)) == count
        assert max(shares.values()) - min(shares.get(part, 0) for part in range(parts)) <= 2


def test_patients_take_turns():
    held = [case(n, n / 100, group=f"patient {n // 10}") for n in range(100)]
    assert len({choice.case.group for choice in next_cases(held, 8)}) >= 7
    alike = [case(n, n / 40, group="same" if n % 2 else None) for n in range(40)]
    assert Counter(choice.case.group for choice in next_cases(alike, 8))["same"] == 1


def test_what_was_reviewed_counts_and_is_not_chosen_again():
    held = [case(n, n / 10) for n in range(10)]
    first = [choice.case.id for choice in next_cases(held, 4)]
    rest = [choice.case.id for choice in next_cases(held, 20, reviewed=first)]
    assert sorted(first + rest) == [one.id for one in held]
    assert [choice.case.id for choice in next_cases(held, 10)] == first + rest
    assert all(0 < choice.gain < 1 for choice in next_cases(held, 10))
    with pytest.raises(InputError, match="all cases of the audit are reviewed"):
        next_cases(held, 1, reviewed=[one.id for one in held])
    with pytest.raises(InputError, match="at least 1 case"):
        next_cases(held, 0)


def test_what_the_set_has_verified_is_not_named(tmp_path):
    make_folder(tmp_path / "mine", count=8, gold=3)
    roles = ("gold", "gold", "val", "val", "val", "train", "train", "test")
    rows = "".join(f"case{number:02d},{role}\n" for number, role in enumerate(roles))
    (tmp_path / "mine/splits.csv").write_text(f"id,role\n{rows}")
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    for role in ("gold", "val"):
        simulate(tmp_path / role, prepared, role)
    assert {choice.case.id for choice in verify_next(tmp_path / "val", 5)} == {"case03", "case04"}
    with pytest.raises(InputError, match="verified already"):
        verify_next(tmp_path / "gold", 5)
    (tmp_path / "set").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="verified already"):
        verify_next(tmp_path / "gold", 5)
