import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool import crypto, digest
from dvtool.effects import SystemEntropy
from dvtool.errors import DvError, FormatError, KeyAccessError, UsageError
from dvtool.formats import identity, repokey
from dvtool.formats.repokey import Opened, Passphrase, Plain, Recipients, Unlock

REPOSITORY = bytes(15) + b"\1"
SECRET = bytes(range(32))
OPENED = Opened(secret=SECRET, wrapping=bytes(range(100, 132)))
ENTROPY = SystemEntropy()
CHEAP = Passphrase(
    text="correct horse",
    memory=repokey.MEMORY_LEAST,
    iterations=repokey.ITERATIONS_LEAST,
    lanes=repokey.LANES_LEAST,
)
PRIVATE = [bytes([number]) * 32 for number in range(1, 4)]
MEMBERS = tuple(identity.recipient_of(key, f"member {number}") for number, key in enumerate(PRIVATE))
SEALINGS: dict[str, repokey.Protection] = {
    "plain": Plain(),
    "passphrase": CHEAP,
    "recipients": Recipients(recipients=MEMBERS),
}
UNLOCK = Unlock(passphrase=lambda: CHEAP.text, identities=lambda: (PRIVATE[1],))


def with_trailer(body):
    return body + digest.accident(body)


def first(repository=REPOSITORY, secret=SECRET):
    """A file of version 1, which nothing writes any more."""
    check = digest.derive(secret, b"key check" + repository)[:16]
    return with_trailer(b"DVKEY\n\1\0" + repository + secret + check)


def made(name, opened=OPENED, repository=REPOSITORY):
    return repokey.encode(repository, opened, SEALINGS[name], ENTROPY)


def unlocking(*identities, passphrase=None):
    return Unlock(passphrase=lambda: passphrase, identities=lambda: identities)


def parts(data):
    """What a file of version 2 consists of: head, parameters, payload."""
    (length,) = struct.unpack_from("<I", data, 24)
    return data[:24], data[28 : 28 + length], data[28 + length : -16]


def joined(head, parameters, payload):
    return with_trailer(head + struct.pack("<I", len(parameters)) + parameters + payload)


def test_golden_bytes_say_what_they_said(vector):
    opened = repokey.decode(vector.data, vector.input("repository"))
    assert opened.secret.hex() == vector.value["secret"]
    assert opened.wrapping == opened.secret
    assert opened.previous is None


def test_golden_bytes_of_version_2_say_what_they_said(vector_2, plain):
    keys = tuple(bytes.fromhex(each) for name, each in vector_2.inputs.items() if name.startswith("identity"))
    for each in keys or (b"",):
        unlock = unlocking(each, passphrase=vector_2.inputs.get("passphrase"))
        assert plain(repokey.decode(vector_2.data, vector_2.input("repository"), unlock)) == vector_2.value


@given(secrets=st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=3))
def test_secrets_come_back_as_they_went_in(secrets):
    opened = Opened(secret=secrets[0], wrapping=secrets[1], previous=secrets[2] if len(secrets) > 2 else None)
    for name in ("plain", "recipients"):
        assert repokey.decode(made(name, opened), REPOSITORY, UNLOCK) == opened


@pytest.mark.parametrize("name", SEALINGS)
def test_each_protection_opens_with_what_it_asks_for(name):
    assert repokey.decode(made(name), REPOSITORY, UNLOCK) == OPENED


@pytest.mark.parametrize("name", ["passphrase", "recipients"])
def test_nothing_of_the_secrets_stands_outside_the_seal(name):
    data = made(name)
    assert OPENED.secret not in data
    assert OPENED.wrapping not in data
    assert made(name) != data, "the keys are used once"


def test_a_key_in_the_clear_asks_nobody():
    def refuse():
        raise AssertionError

    for data in (first(), made("plain")):
        repokey.decode(data, REPOSITORY, Unlock(passphrase=refuse, identities=refuse))


def test_what_holds_secrets_does_not_show_them():
    assert "correct" not in repr(CHEAP)
    assert repr(OPENED) == "Opened(...)"


@pytest.mark.parametrize("name", ["first", *SEALINGS])
def test_a_flipped_bit_anywhere_is_noticed(name):
    good = first() if name == "first" else made(name)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(DvError):
            repokey.decode(bytes(bad), REPOSITORY, UNLOCK)


@pytest.mark.parametrize("name", ["first", *SEALINGS])
def test_a_flipped_bit_is_noticed_even_when_the_checksum_was_made_to_match(name):
    good = first() if name == "first" else made(name)
    stretched = range(28, 72) if name == "passphrase" else ()  # each of these takes a tenth of a second
    for at in range(len(good) - 16):
        if at in stretched and at % 8:
            continue
        bad = bytearray(good[:-16])
        bad[at] ^= 1
        if name == "first" and at == 6:
            continue  # 1 becomes 0, which is another version
        with pytest.raises(DvError):
            repokey.decode(with_trailer(bytes(bad)), REPOSITORY, UNLOCK)


@pytest.mark.parametrize("name", ["first", *SEALINGS])
def test_no_part_of_a_key_is_a_key(name):
    good = first() if name == "first" else made(name)
    for length in range(len(good)):
        with pytest.raises(KeyAccessError):
            repokey.decode(good[:length], REPOSITORY, UNLOCK)
    for length in range(0, len(good) - 16, 7 if name == "passphrase" else 1):
        with pytest.raises(DvError):
            repokey.decode(with_trailer(good[:length]), REPOSITORY, UNLOCK)
    with pytest.raises(KeyAccessError):
        repokey.decode(good + b"\0", REPOSITORY, UNLOCK)
    with pytest.raises(KeyAccessError):
        repokey.decode(with_trailer(good[:-16] + b"\0"), REPOSITORY, UNLOCK)


@pytest.mark.parametrize("name", ["first", *SEALINGS])
def test_the_key_of_another_repository_is_refused(name):
    other = first(repository=bytes(16)) if name == "first" else made(name, repository=bytes(16))
    with pytest.raises(KeyAccessError, match="another repository"):
        repokey.decode(other, REPOSITORY, UNLOCK)
    with pytest.raises(KeyAccessError, match="another repository"):
        repokey.describe(other, REPOSITORY)


@pytest.mark.parametrize("name", ["first", *SEALINGS])
def test_the_key_of_another_repository_under_this_ones_id_is_refused(name):
    other = first(repository=bytes(16)) if name == "first" else made(name, repository=bytes(16))
    with pytest.raises(KeyAccessError):
        repokey.decode(with_trailer(other[:8] + REPOSITORY + other[24:-16]), REPOSITORY, UNLOCK)


@pytest.mark.parametrize(("version", "protection"), [(3, 0), (2, 3), (2, 255), (0, 0), (1, 1), (1, 255)])
@pytest.mark.parametrize("more", [b"", bytes(100)])
def test_a_key_that_is_protected_in_a_way_of_the_future_is_named(version, protection, more):
    body = first()[:-16]
    with pytest.raises(FormatError, match="does not know"):
        repokey.decode(with_trailer(body[:6] + bytes([version, protection]) + body[8:] + more), REPOSITORY)


def test_a_wrong_passphrase_is_named():
    with pytest.raises(KeyAccessError, match="the passphrase is wrong") as caught:
        repokey.decode(made("passphrase"), REPOSITORY, Unlock(passphrase=lambda: "correct h0rse"))
    assert "DV_PASSPHRASE" in caught.value.next
    assert "h0rse" not in str(caught.value)


def test_without_a_passphrase_the_ways_to_give_one_are_named():
    with pytest.raises(KeyAccessError, match="none was given") as caught:
        repokey.decode(made("passphrase"), REPOSITORY)
    assert "DV_PASSPHRASE_FILE" in caught.value.next


def test_a_passphrase_is_the_same_however_its_letters_are_composed():
    data = repokey.encode(REPOSITORY, OPENED, msgspec.structs.replace(CHEAP, text="caf\u00e9"), ENTROPY)
    assert repokey.decode(data, REPOSITORY, Unlock(passphrase=lambda: "cafe\u0301")) == OPENED


@pytest.mark.parametrize("text", ["", "x" * 1025, "\udc80"])
def test_no_passphrase_and_too_much_of_one_are_refused(text):
    with pytest.raises(UsageError):
        repokey.encode(REPOSITORY, OPENED, msgspec.structs.replace(CHEAP, text=text), ENTROPY)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *((0, value) for value in (0, repokey.MEMORY_LEAST - 1, repokey.MEMORY_LIMIT + 1, 2**32 - 1)),
        *((4, value) for value in (0, 1, repokey.ITERATIONS_LIMIT + 1, 2**32 - 1)),
        *((8, value) for value in (0, repokey.LANES_LIMIT + 1, 2**32 - 1)),
    ],
)
def test_hostile_costs_are_refused_before_anything_is_asked_or_taken(at, value, monkeypatch):
    head, parameters, payload = parts(made("passphrase"))
    changed = parameters[:at] + struct.pack("<I", value) + parameters[at + 4 :]

    def refuse(*_arguments, **_numbers):
        raise AssertionError

    monkeypatch.setattr(crypto, "stretch", refuse)
    with pytest.raises(KeyAccessError, match="not bearable"):
        repokey.decode(joined(head, changed, payload), REPOSITORY, Unlock(passphrase=refuse))


def test_costs_that_were_lowered_within_the_limits_do_not_open():
    dear = msgspec.structs.replace(CHEAP, iterations=3)
    head, parameters, payload = parts(repokey.encode(REPOSITORY, OPENED, dear, ENTROPY))
    changed = parameters[:4] + struct.pack("<I", 2) + parameters[8:]
    with pytest.raises(KeyAccessError, match="passphrase is wrong"):
        repokey.decode(joined(head, changed, payload), REPOSITORY, UNLOCK)


@pytest.mark.parametrize("number", range(3))
def test_every_recipient_opens_it(number):
    unlock = Unlock(identities=lambda: (bytes(32), PRIVATE[number]))
    assert repokey.decode(made("recipients"), REPOSITORY, unlock) == OPENED


def test_who_is_no_recipient_is_told_how_to_become_one():
    for identities in ((), (bytes(32),)):
        with pytest.raises(KeyAccessError, match="not sealed for you") as caught:
            repokey.decode(made("recipients"), REPOSITORY, unlocking(*identities))
        assert "dv key recipients add" in caught.value.next
        assert ("--new" in caught.value.next) == (not identities)


def test_who_is_a_recipient_is_shown_without_opening():
    found = repokey.describe(made("recipients"), REPOSITORY)
    assert found.protection == repokey.RECIPIENTS
    assert set(found.recipients) == set(MEMBERS)
    assert repokey.describe(first(), REPOSITORY) == repokey.Description(version=1, protection=repokey.PLAIN)


def stanzas(parameters):
    """The list of recipients, cut into its parts."""
    found, at = [], 4
    while at < len(parameters):
        end = at + 113 + parameters[at + 112]
        found.append(parameters[at:end])
        at = end
    return found


def test_a_changed_list_of_recipients_does_not_open():
    head, parameters, payload = parts(made("recipients"))
    each = stanzas(parameters)
    mine = identity.recipient_of(PRIVATE[1]).key
    others = [part for part in each if not part.startswith(mine)]
    other_file = stanzas(parts(made("recipients"))[1])
    stranger = identity.recipient_of(bytes(32)).key
    changes = {
        "one less": [part for part in each if part != others[0]],
        "another instead": sorted([*(part for part in each if part != others[0]), stranger + others[0][32:]]),
        "one more": sorted([*each, stranger + each[0][32:]]),
        "another comment": [part.replace(b"member 0", b"member 9") for part in each],
        "all of another file": other_file,
        "one of another file": [part if part != others[0] else other_file[each.index(part)] for part in each],
    }
    for what, changed in changes.items():
        data = joined(head, struct.pack("<I", len(changed)) + b"".join(changed), payload)
        with pytest.raises(KeyAccessError, match="does not open") as caught:
            repokey.decode(data, REPOSITORY, UNLOCK)
        assert "changed after it was sealed" in caught.value.why, what


@pytest.mark.parametrize(
    "change",
    [
        lambda each: each[:0],
        lambda each: each[::-1],
        lambda each: [each[0], *each],
        lambda each: [each[0][:112] + b"\xff" + each[0][113:], *each[1:]],
        lambda each: [each[0].replace(b"member", b"\x1b[2Jxx")],
        lambda each: [each[0].replace(b"member", b"\xff\xff\xff\xff\xff\xff")],
        lambda each: [each[0][:-1]],
        lambda each: [*each, b"x"],
    ],
)
def test_malformed_lists_of_recipients_are_damage(change):
    head, parameters, payload = parts(made("recipients"))
    changed = change(stanzas(parameters))
    data = joined(head, struct.pack("<I", len(changed)) + b"".join(changed), payload)
    with pytest.raises(KeyAccessError, match="damaged"):
        repokey.decode(data, REPOSITORY, UNLOCK)


@pytest.mark.parametrize("count", [0, 1001, 2**32 - 1])
def test_impossible_numbers_of_recipients_are_damage(count):
    head, parameters, payload = parts(made("recipients"))
    with pytest.raises(KeyAccessError, match="damaged"):
        repokey.describe(joined(head, struct.pack("<I", count) + parameters[4:], payload), REPOSITORY)


def test_an_ephemeral_key_that_makes_no_secret_is_refused():
    head, parameters, payload = parts(made("recipients"))
    changed = [part[:32] + bytes(32) + part[64:] for part in stanzas(parameters)]
    with pytest.raises(KeyAccessError, match="does not open"):
        repokey.decode(joined(head, parameters[:4] + b"".join(changed), payload), REPOSITORY, UNLOCK)


def test_recipients_that_are_none_too_many_or_unusable_are_refused():
    for recipients in (
        (),
        tuple(identity.Recipient(key=number.to_bytes(32, "big")) for number in range(1, 1002)),
        (identity.Recipient(key=bytes(32), comment="nobody"),),
    ):
        with pytest.raises(UsageError):
            repokey.encode(REPOSITORY, OPENED, Recipients(recipients=recipients), ENTROPY)


def test_as_many_recipients_as_allowed_fit_into_a_file():
    recipients = tuple(identity.recipient_of(number.to_bytes(32, "big"), "x" * 200) for number in range(1000))
    data = repokey.encode(REPOSITORY, OPENED, Recipients(recipients=recipients), ENTROPY)
    assert len(data) < repokey.SIZE_LIMIT
    assert repokey.decode(data, REPOSITORY, Unlock(identities=lambda: ((999).to_bytes(32, "big"),))) == OPENED


def test_a_file_that_is_far_too_long_is_damage():
    with pytest.raises(KeyAccessError, match="damaged"):
        repokey.decode(with_trailer(made("plain")[:-16] + bytes(repokey.SIZE_LIMIT)), REPOSITORY)


@settings(max_examples=300)
@given(kind=st.sampled_from([0, 2]), rest=st.binary(max_size=400), length=st.integers(0, 400))
def test_other_bytes_are_refused_with_our_own_error(kind, rest, length):
    head = b"DVKEY\n\2" + bytes([kind]) + REPOSITORY
    for data in (rest, with_trailer(head + rest), with_trailer(head + struct.pack("<I", length) + rest)):
        with pytest.raises(DvError):
            repokey.decode(data, REPOSITORY, UNLOCK)
