"""What the page keeps in a browser that does not store, stores no more, or has stored something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_scripts import copy_scripts, run

#: Storage that a browser refuses, that is full, and that another page has written.
STORAGES = {
    "blocked": "Object.defineProperty(globalThis, 'localStorage', { get() { throw new Error('SecurityError'); } });",
    "full": """globalThis.localStorage = {
      getItem: () => null, setItem() { throw new Error('QuotaExceededError'); }, removeItem() {},
    };""",
    "damaged": """const texts = { 'octabox-prompts': '{"a": ' };
    globalThis.localStorage = {
      getItem: (name) => texts[name] ?? null,
      setItem(name, text) { texts[name] = text; },
      removeItem(name) { delete texts[name]; },
    };""",
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize("storage", STORAGES)
def test_prompts_and_the_key_last_as_long_as_the_page(scripts: Path, storage: str) -> None:
    """They are kept in memory where they cannot be stored, and whether they are stored is returned."""
    code = f"""
    {STORAGES[storage]}
    const {{ apiKey, setApiKey }} = await import('./js/api.js');
    const {{ earlierPrompts, rememberPrompt }} = await import('./js/prompts.js');
    const before = [apiKey(), earlierPrompts()];
    const stored = setApiKey("secret");
    for (const each of ["a", "b", "a", ["c"], ""]) rememberPrompt(each);
    const after = [apiKey(), earlierPrompts()];
    setApiKey("");
    console.log(JSON.stringify([before, stored, after, apiKey()]));"""

    assert [["", []], storage == "damaged", ["secret", ["a", "b"]], ""] == run(scripts, code)


def test_each_tab_has_its_own_text(scripts: Path) -> None:
    """A new one has that of the last tab; where a tab has no room, an older text of it does not come back."""
    code = """
    const storage = () => {
      const texts = {};
      const getItem = (name) => texts[name] ?? null;
      return { getItem, setItem(name, text) { texts[name] = text; }, removeItem(name) { delete texts[name]; } };
    };
    globalThis.localStorage = storage();
    const [one, other] = [storage(), storage()];
    const { keepTabText, readTabText } = await import('./js/storage.js');
    const inTab = (tab, action) => { globalThis.sessionStorage = tab; return action(); };
    inTab(one, () => keepTabText("grid", "first"));
    inTab(other, () => keepTabText("grid", "second"));
    const found = [one, other, storage()].map((tab) => inTab(tab, () => readTabText("grid")));
    one.setItem = () => { throw new Error("QuotaExceededError"); };
    inTab(one, () => keepTabText("grid", "third"));
    console.log(JSON.stringify([...found, inTab(one, () => readTabText("grid"))]));"""

    assert ["first", "second", "second", "third"] == run(scripts, code)
