"""A file that only one can create holds others off, until it is let go or so old that its maker counts as gone."""

import pytest

from dvtool.effects import SystemEntropy
from dvtool.errors import ConflictError, StorageError
from dvtool.storage import holding
from dvtool.storage.backend import Abilities, close
from dvtool.storage.holding import KEY_CHANGE, LONG, Hold
from dvtool.storage.memory import MemoryBackend
from dvtool.storage.opening import open_place
from dvtool.testing.serving import every

MINUTE = 60 * 1_000_000


class Place(MemoryBackend):
    """A place with a clock, of which each file remembers its time."""

    def __init__(self):
        super().__init__()
        self.now = 1_000 * LONG
        self.times = {}
        self.on_create = lambda _name: None

    def create(self, name, data):
        super().create(name, data)
        self.times[name] = self.now
        self.on_create(name)

    def modified(self, name):
        self._blob(name)
        return self.times[name]


@pytest.fixture
def place():
    return Place()


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(place, told):
    def make(backend=place):
        return Hold(backend, KEY_CHANGE, entropy=SystemEntropy(), tell=told.append, doing="the key of 'origin'")

    return make


def test_one_holds_and_the_second_is_told_since_when(place, make):
    with make() as first:
        place.now += 12 * MINUTE
        with pytest.raises(ConflictError) as caught, make():
            pass
        assert "12 minutes" in caught.value.why
        assert "48 minutes" in caught.value.next
        first.require()
    assert place.blobs == {}
    with make():
        pass


def test_it_is_let_go_of_on_failure(place, make):
    with pytest.raises(StorageError), make():
        raise StorageError("the disk is full")
    assert place.blobs == {}


def test_an_old_one_is_taken_over_and_its_holder_is_told(place, make, told):
    with make() as first:
        place.now += LONG
        with make() as second:
            with pytest.raises(ConflictError, match="took over"):
                first.require()
            second.require()
            assert list(place.blobs) == [KEY_CHANGE]
        assert "taken for dead" in told[0]
    assert place.blobs == {}


def test_what_another_took_over_is_not_let_go_of(place, make):
    first, second = make(), make()
    first.__enter__()
    place.now += LONG
    second.__enter__()
    first.__exit__()
    second.require()
    second.__exit__()
    assert place.blobs == {}


def test_of_two_who_take_over_at_once_one_is_refused(place, make):
    """The other removes the new file together with the old one, in the instant after it was created."""
    make().__enter__()
    place.now += LONG
    entered: list[Hold] = []

    def meanwhile(name):
        if name == KEY_CHANGE and not entered:
            entered.append(make())
            place.delete(KEY_CHANGE)
            entered[0].__enter__()

    place.on_create = meanwhile
    with pytest.raises(ConflictError), make():
        pass
    entered[0].require()


def test_one_whose_age_nobody_knows_is_never_taken_over(place, make):
    make().__enter__()
    place.now += 100 * LONG
    place.times[KEY_CHANGE] = 0
    with pytest.raises(ConflictError) as caught, make():
        pass
    assert "remove that file" in caught.value.next
    assert "does not tell" in caught.value.why


def test_a_time_in_the_future_is_not_old(place, make):
    make().__enter__()
    place.times[KEY_CHANGE] = place.now + 10 * LONG
    with pytest.raises(ConflictError), make():
        pass


def test_a_file_of_somebody_else_is_read_in_part_only(place, make):
    place.create(KEY_CHANGE, bytes(10_000_000))
    with pytest.raises(ConflictError), make():
        pass
    place.now += LONG
    with make() as hold:
        hold.require()


def test_after_a_lost_reply_it_is_known_as_ones_own(place, make, monkeypatch):
    create = Place.create

    def lost(self, name, data):
        create(self, name, data)
        if name == KEY_CHANGE:
            create(self, name, data)  # the library tries again, and finds its own work

    monkeypatch.setattr(Place, "create", lost)
    with make() as hold:
        hold.require()
    assert place.blobs == {}


def test_what_cannot_be_let_go_of_is_told_and_does_not_hide_what_happened(place, make, told, monkeypatch):
    def refuse(_name):
        raise StorageError("denied")

    monkeypatch.setattr(place, "delete", refuse)
    with pytest.raises(ValueError, match="first"), make():
        raise ValueError("first")
    assert "denied" in told[0]


def test_where_versions_are_kept_none_is_left(place, make):
    place.abilities = Abilities(versions=True)
    purged = []

    def purge(name):
        purged.append(name)
        place.delete(name)

    place.purge = purge
    with make():
        pass
    assert purged == [KEY_CHANGE]


def test_the_time_of_a_place(place):
    assert holding.time_of(place, SystemEntropy()) == place.now
    assert place.blobs == {}


def test_what_was_created_although_that_failed_holds_nobody_off(place, make, monkeypatch):
    create = Place.create

    def failing(self, name, data):
        create(self, name, data)
        raise StorageError("the reply did not come")

    with monkeypatch.context() as patch:
        patch.setattr(Place, "create", failing)
        with pytest.raises(StorageError), make():
            pass
    assert place.blobs == {}


@pytest.mark.parametrize("fault", ["busy", "cut", "lost", "half"])
def test_over_a_bad_network(s3_server, make, fault):
    s3_server.make_bucket("bucket", versioning="Enabled")
    backend = open_place(
        "s3://bucket", {"endpoint_url": s3_server.url}, entropy=SystemEntropy(), sleep=lambda _seconds: None
    )
    s3_server.fault = every(2, fault)
    with make(backend) as hold:
        hold.require()
        with pytest.raises(ConflictError), make(backend):
            pass
        hold.require()
    assert s3_server.buckets["bucket"].versions == {}
    close(backend)
