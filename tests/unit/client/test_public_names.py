"""`import strongroom` is quick, and gives what the README promises."""

import subprocess
import sys

import strongroom

HEAVY = ("asyncio", "cryptography", "httpx", "msgspec", "ssl", "cedarpy")


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, strongroom; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_is_there():
    assert {name for name in strongroom._HOMES if not hasattr(strongroom, name)} == set()
    assert set(strongroom._HOMES) <= set(dir(strongroom))


def test_the_type_checker_and_the_interpreter_see_the_same_names():
    with open(strongroom.__file__) as file:
        source = file.read()
    for name, home in strongroom._HOMES.items():
        assert f"    from strongroom.{home} import {name} as {name}\n" in source


def test_other_names_are_not_there():
    assert not hasattr(strongroom, "open_sesame")
