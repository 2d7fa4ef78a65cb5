"""The command that erases looks, while it still has the contents, whether they stand in any file beside the store."""

import base64
import json

import pytest

from dvtool.erasure import executing, proving, traces
from dvtool.store import erasing
from tests.erasure.conftest import SECRET, WHO, opened
from tests.faults.conftest import noise, put

SCAN = noise(2, 300_000) + SECRET
FORMS = {
    "as it is": bytes,
    "hexadecimal": lambda content: content.hex().encode(),
    "capitals": lambda content: content.hex().upper().encode(),
    "Base64": lambda content: base64.b64encode(b"1" + content),
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16-le"),
    "UTF-16 the other way": lambda content: content.decode("latin-1").encode("utf-16-be"),
}


@pytest.mark.parametrize("content", [SECRET, SCAN], ids=["short", "long"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_content_that_is_left_in_a_file_is_told_and_certified(base, form, content):
    place = f"{base}/repo/.dv/notes/left.txt"
    put(place, b"some notes\n" + form(content))
    done = opened(base).erase([WHO])
    told = f"{executing.HERE}: {place} holds {proving.CONTENT}"
    assert told in done.outstanding
    document = json.loads(opened(base).erasure_certificate(done.erasure))
    assert told in document["outstanding"]
    assert document["searched"] == ["ids", "contents"]
    assert not next(each for each in document["places"] if each["name"] == executing.HERE)["done"]


def test_what_is_left_of_nobody_else_is_no_matter(base):
    put(f"{base}/repo/.dv/notes/left.txt", noise(3, 2000) + b"nothing of number seventeen")
    assert opened(base).erase([WHO]).outstanding == ()


def test_what_a_file_that_stays_holds_as_well_is_not_looked_for(base):
    other = "data/images/p19/scan.bin"
    for place in (other, "data/copy.bin", ".dv/notes/left.bin"):
        put(f"{base}/repo/{place}", noise(5, 2000))
    opened(base).commit("copied", everything=True)
    assert opened(base).erase([other], copies="keep").outstanding == ()


def test_an_id_that_is_left_in_a_file_is_told(base):
    store = opened(base).workspace.session.store
    tree = opened(base).workspace.session.stage().tree
    entry = opened(base).workspace.session.trees.resolve(tree, f"{WHO}/note.txt")
    assert store.has(entry.id)
    put(f"{base}/repo/.dv/notes/left.txt", b"see " + entry.id.hex().encode())
    assert any(proving.ID in each for each in opened(base).erase([WHO]).outstanding)


def test_an_erasure_that_was_stopped_when_the_contents_were_gone_says_what_was_searched_for(base, monkeypatch):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "destroy", interrupt)
        with pytest.raises(KeyboardInterrupt):
            opened(base).erase([WHO])
    opened(base).resume_erasure()
    assert json.loads(opened(base).erasure_certificate(opened(base).erasures()[0].id))["searched"] == ["ids"]


def test_of_however_many_contents_only_so_many_words_are_taken(base, monkeypatch):
    monkeypatch.setattr(traces, "WORDS", 10)
    for number in range(30):
        put(f"{base}/repo/{WHO}/{number}.txt", noise(100 + number, 3000))
    put(f"{base}/repo/{WHO}/large.bin", noise(99, 3_000_000))
    opened(base).commit("many", everything=True)
    taken = []
    real = traces.taken

    def noted(store, plan, **how):
        taken.append(real(store, plan, **how))
        return taken[-1]

    monkeypatch.setattr(traces, "taken", noted)
    opened(base).erase([WHO])
    assert 0 < len(taken[0].words) <= 10 * 11  # in each of its disguises
    assert len(taken[0].gone) > 30
