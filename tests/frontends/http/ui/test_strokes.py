"""Undo and redo of the mask painter."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_scripts import copy_scripts, run

#: A canvas of eight by four pixels in memory, and what it shows.
CANVAS = """
import { Strokes } from './js/strokes.js';
const canvas = { width: 8, height: 4 };
const all = new Uint8ClampedArray(canvas.width * canvas.height * 4);
const each = (x, y, width, height, call) => {
  const place = (at) => (y + Math.floor(at / width)) * canvas.width + x + (at % width);
  for (let at = 0; at < width * height; at++) call(at * 4, place(at) * 4);
};
const context = {
  canvas,
  createImageData: (width, height) => ({ width, height, data: new Uint8ClampedArray(width * height * 4) }),
  getImageData(x, y, width, height) {
    const found = context.createImageData(width, height);
    each(x, y, width, height, (to, from) => found.data.set(all.subarray(from, from + 4), to));
    return found;
  },
  putImageData({ width, height, data }, x, y) {
    each(x, y, width, height, (from, to) => all.set(data.subarray(from, from + 4), to));
  },
};
const opacity = () => [...all].filter((_, index) => index % 4 === 3);
const shown = () => opacity().flatMap((each, index) => (each ? [index] : [])).join(" ");
const paint = (strokes, x, y) => { all.fill(255, (y * 8 + x) * 4, (y * 8 + x) * 4 + 4); strokes.reach(x + 0.5, y + 0.5, 0.5); };
const stroke = (strokes, x, y) => { paint(strokes, x, y); strokes.finish(); };
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


def test_strokes_are_taken_back_and_made_again(scripts: Path) -> None:
    """One by one; a stroke that is dropped, as by a second finger, leaves what can be redone."""
    code = (
        CANVAS
        + """
    const strokes = new Strokes(context);
    const seen = [];
    const see = () => seen.push([shown(), strokes.past.length, strokes.future.length]);
    stroke(strokes, 1, 0); stroke(strokes, 2, 3); see();
    strokes.undo(); see();
    paint(strokes, 5, 1); strokes.drop(); see();
    strokes.redo(); see();
    strokes.undo(); strokes.undo(); strokes.undo(); see();
    stroke(strokes, 7, 3); see();
    console.log(JSON.stringify(seen));"""
    )
    expected = [["1 26", 2, 0], ["1", 1, 1], ["1", 1, 1], ["1 26", 2, 0], ["", 0, 2], ["31", 1, 0]]

    assert expected == run(scripts, code)


def test_strokes_have_a_byte_for_each_pixel_that_they_reach(scripts: Path) -> None:
    """Those at an edge end there, and beyond the limit the first ones are forgotten, but never the last."""
    code = (
        CANVAS
        + """
    const strokes = new Strokes(context, 10);
    strokes.reach(0, 0, 2); strokes.finish();
    const edge = [strokes.past[0].width, strokes.past[0].height, strokes.past[0].alpha.length];
    strokes.reach(-9, 0, 2); strokes.finish();
    const outside = strokes.past.length;
    for (let x = 0; x < 8; x++) stroke(strokes, x, 3);
    const several = strokes.past.length;
    all.fill(255); strokes.finishAll();
    const last = [strokes.past.length, strokes.past[0].alpha.length];
    strokes.undo();
    console.log(JSON.stringify([edge, outside, several, last, shown()]));"""
    )

    assert [[2, 2, 4], 1, 8, [1, 32], "24 25 26 27 28 29 30 31"] == run(scripts, code)
