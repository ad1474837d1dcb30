"""An attribute is replaced for some time."""

from __future__ import annotations

import pytest

from octabox.engine.replacement import replaced


class Greeter:
    """An object with a method."""

    def greet(self) -> str:
        """Return the greeting of the class."""
        return "class"


def test_a_method_of_the_class_is_there_again() -> None:
    """Also after an error, and the object has no attribute of its own."""
    greeter = Greeter()
    with replaced(greeter, "greet", lambda: "inner"):
        assert "inner" == greeter.greet()
    with pytest.raises(ZeroDivisionError), replaced(greeter, "greet", lambda: "inner"):
        1 / 0  # noqa: B018 (it raises)

    assert "class" == greeter.greet()
    assert {} == vars(greeter)


@pytest.mark.parametrize("own", [None, 0, "value"])
def test_an_own_attribute_is_there_again(own: object) -> None:
    """Whatever its value, within a second context too."""
    greeter = Greeter()
    greeter.name = own  # type: ignore[attr-defined]
    with replaced(greeter, "name", 1), replaced(greeter, "name", 2):
        pass

    assert {"name": own} == vars(greeter)
