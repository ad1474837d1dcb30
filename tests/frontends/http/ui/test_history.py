"""The outputs of the gallery: what is hidden until it is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_scripts import copy_scripts, run

#: A page whose server answers each deletion with the next of some statuses; 0 is no answer at all.
SERVER = """
globalThis.document = { baseURI: 'http://localhost/', addEventListener() {} };
globalThis.localStorage = { getItem: () => null };
const { history } = await import('./js/history.js');
const sent = [];
globalThis.fetch = async (url, { body }) => {
  sent.push(JSON.parse(body).outputs.length);
  const status = value.statuses[sent.length - 1];
  if (!status) throw new TypeError("Failed to fetch");
  return Response.json({ data: [], error: { message: "refused" } }, { status });
};
history.items = Array.from({ length: value.count }, (_, index) => ({ key: `job/${index}` }));
history.hide(history.items.slice(0, value.hidden).map((each) => each.key));
const hidden = history.all.length;
let changes = 0;
history.addEventListener("change", () => changes++);
const error = await history.deleteHidden().then(() => "", (each) => each.message);
console.log(JSON.stringify({ sent, hidden, all: history.all.length, items: history.items.length, changes, failed: !!error }));
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize(
    ("statuses", "deleted"),
    [([200, 200], 1500), ([0], 0), ([500], 0), ([200, 0], 1000)],
)
def test_what_cannot_be_deleted_is_shown_again(scripts: Path, statuses: list[int], deleted: int) -> None:
    """Without a connection, too; what was deleted before the error is gone."""
    found = run(scripts, SERVER, {"statuses": statuses, "count": 1600, "hidden": 1500})

    assert 100 == found["hidden"]
    assert [1000, 500][: len(statuses)] == found["sent"]
    assert (1600 - deleted, 1600 - deleted) == (found["all"], found["items"])
    assert (deleted < 1500) == found["failed"] == bool(found["changes"])
