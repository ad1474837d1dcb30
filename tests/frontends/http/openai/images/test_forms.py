"""Forms with files."""

from typing import Any

import pytest

from fakes import Server, sample_image

IMAGE = {"image": ("a.png", sample_image())}


async def edited(server: Server, data: dict[str, Any], files: Any = None) -> int:
    """Send an edit and return the answer's status."""
    form = {"prompt": "x", **data}
    return (await server.http.post("/v1/images/edits", files=files or IMAGE, data=form)).status_code


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("null", "null"),
        ("NaN", "NaN"),
        ("[" * 5000, "[" * 5000),
        ("plain", "plain"),
    ],
)
async def test_values_of_further_fields(text: str, value: Any) -> None:
    """A further field is the JSON that it holds, or else its text."""
    server = Server()

    assert 200 == await edited(server, {"strength": text})
    assert value == server.asked.params["strength"]


async def test_text_stays_text() -> None:
    """A prompt that looks like a number is a prompt, and an empty field is not given."""
    server = Server()

    assert 200 == await edited(server, {"prompt": "1", "prompt_2": "2", "n": "", "step": "3"})
    assert {"prompt": "1", "prompt_2": "2", "num_inference_steps": 3} == server.asked.params


async def test_images_by_url_and_by_file() -> None:
    """Images may be files and URLs in one form; files of other names are media too."""
    server = Server()
    files = [("image[]", ("a.png", b"one")), ("control_image", ("b.png", b"two"))]

    assert 200 == await edited(server, {"mask": "https://example.org/m.png"}, files)
    assert server.asked.inputs == {
        "image": (b"one",),
        "control_image": (b"two",),
        "mask_image": ("https://example.org/m.png",),
    }


async def test_scheduler_with_settings() -> None:
    """A field that takes an object takes it as JSON."""
    server = Server()

    assert 200 == await edited(server, {"scheduler": '{"name": "euler", "eta": 1}'})
    assert server.asked.scheduler is not None
    assert ("euler", {"eta": 1}) == (server.asked.scheduler.name, server.asked.scheduler.settings)


@pytest.mark.parametrize("data", [{"n": "0"}, {"n": ["1", "2"]}, {"stream": "maybe"}, {"size": "1"}])
async def test_refused(data: dict[str, Any]) -> None:
    """A wrong field of a form is a bad request."""
    assert 400 == await edited(Server(), data)


async def test_text_that_is_no_utf8_is_latin1() -> None:
    """A field that is not UTF-8 is read as the Latin-1 that old clients send."""
    server = Server()
    head = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\na\r\n--x\r\n'
    content = head + b'content-disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await server.http.post("/v1/images/edits", content=content, headers=headers)

    assert 200 == answer.status_code
    assert "\xff" == server.asked.params["prompt"]


@pytest.mark.parametrize(
    ("head", "is_file"),
    [
        ('name="image"; filename="a.png"', True),
        ('name="image"; filename=""', True),
        ("name=\"image\"; filename*=UTF-8''a%20b.png", True),
        ('name="image"\r\ncontent-type: image/png', True),
        ('name="image"\r\ncontent-type: application/octet-stream', True),
        ('name="image"\r\ncontent-type: text/plain; charset=utf-8', False),
        ('name="image"', False),
    ],
)
async def test_which_parts_are_files(head: str, *, is_file: bool) -> None:
    """A part is a file by its name, in either encoding, or by its content type; other parts are text."""
    server, part = Server(), "--x\r\ncontent-disposition: form-data; "
    content = f'{part}name="prompt"\r\n\r\nx\r\n{part}{head}\r\n\r\naGk=\r\n--x--\r\n'.encode()
    headers = {"content-type": "Multipart/Form-Data; boundary=x"}
    answer = await server.http.post("/v1/images/edits", content=content, headers=headers)

    assert 200 == answer.status_code
    assert {"image": (b"aGk=" if is_file else "aGk=",)} == server.asked.inputs


DATA = "data:image/png;base64,aGk="


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ({"images": [{"image_url": DATA}]}, {"image": (DATA,)}),
        ({"images": [{"image_url": DATA}, {"image_url": "https://example.org/b.png"}]}, None),
        ({"image": DATA, "mask": {"image_url": DATA}}, {"image": (DATA,), "mask_image": (DATA,)}),
        ({"image": [{"image_url": {"url": DATA}}], "mask_image": DATA}, {"image": (DATA,), "mask_image": (DATA,)}),
        ({"image": None, "images": [DATA], "mask": None}, {"image": (DATA,)}),
        ({"file": DATA}, {"image": (DATA,)}),
        ({"ref_images": ["https://example.org/b.png"], "files": [], "file": DATA}, None),
    ],
)
async def test_edits_in_json(body: dict[str, Any], inputs: dict[str, Any] | None) -> None:
    """Images and mask by URL are inputs, as files of a form are; other fields are the same."""
    server = Server()
    answer = await server.http.post("/v1/images/edits", json={"prompt": "x", "n": 2, "strength": 0.5, **body})

    assert 200 == answer.status_code
    assert (inputs or {"image": (DATA, "https://example.org/b.png")}) == server.asked.inputs
    assert ("inpainting" if inputs and "mask_image" in inputs else "image-to-image") == server.asked.task
    assert (2, 0.5) == (server.asked.num_outputs, server.asked.params["strength"])


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "image"),
        ({"images": []}, "image"),
        ({"images": [{"file_id": "file-1"}]}, "images"),
        ({"images": [3]}, "images"),
        ({"images": [DATA], "image": DATA}, "image"),
        ({"ref_images": [DATA], "image": DATA}, "ref_images"),
        ({"image": DATA, "mask": {"file_id": "file-1"}}, "mask"),
        ({"image": DATA, "mask": DATA, "mask_image": DATA}, "mask_image"),
    ],
)
async def test_edits_in_json_without_images(body: dict[str, Any], parameter: str) -> None:
    """The error names the client's field."""
    answer = await Server().http.post("/v1/images/edits", json={"prompt": "x", **body})

    assert (400, parameter) == (answer.status_code, answer.json()["error"]["param"])


async def test_an_edit_of_another_content_type() -> None:
    """The error names the content types that the route accepts."""
    answer = await Server().http.post("/v1/images/edits", content=b"{}", headers={"content-type": "text/plain"})

    assert 415 == answer.status_code
    assert "multipart/form-data or application/json, not 'text/plain'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("field", ["image", "images", "file", "files", "ref_images"])
async def test_variations_in_json(field: str) -> None:
    """A variation by URL is the same request as one by a file, by any name of the image."""
    server = Server()
    answer = await server.http.post("/v1/images/variations", json={field: DATA, "n": 2})

    assert 200 == answer.status_code
    assert ({"image": (DATA,)}, 2) == (server.asked.inputs, server.asked.num_outputs)


@pytest.mark.parametrize(
    "parts",
    [
        [("scheduler[name]", "ddim"), ("scheduler", "euler")],
        [("scheduler[name]", "ddim"), ("scheduler[name]", "euler")],
        [("cross_attention_kwargs[scale]", "1"), ("cross_attention_kwargs", '{"scale": 2}')],
        [("image[image_url]", "http://example.com/a.png")],
    ],
)
async def test_a_field_in_two_forms(parts: list[tuple[str, str]]) -> None:
    """A field as an object and as text, or as a file, or twice, is an error: none is dropped."""
    server = Server()
    files: list[Any] = [*IMAGE.items(), *[(name, (None, text)) for name, text in [("prompt", "x"), *parts]]]
    answer = await server.http.post("/v1/images/edits", files=files)

    assert 400 == answer.status_code
    assert "is given twice" in answer.json()["error"]["message"]
    assert [] == server.generations.requests
