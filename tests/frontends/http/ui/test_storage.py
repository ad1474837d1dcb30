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
