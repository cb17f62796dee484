"""Numbers as a reader sees them."""

from kit.report import wording


def test_numbers_are_readable():
    shown = [wording.number(x) for x in (0.8344, 12.34, 123.4, 12345.6, 0.00012, 0.0, -0.02)]
    assert shown == ["0.834", "12.3", "123", "12,346", "0.00012", "0.000", "-0.020"]
    assert wording.number(float("nan")) == ""
