"""Which role ``[splits]`` gives to a path."""

from dvtool.worktree import projects


def test_the_nearest_of_several_decides():
    splits = {"train": ("data",), "test": ("data/held",), "extra": ("data/**/odd",)}
    assert projects.role_of("data/a", splits) == ("train", "data")
    assert projects.role_of("data/held/a", splits) == ("test", "data/held")
    assert projects.role_of("data/held/odd/a", splits) == ("extra", "data/held/odd")
    assert projects.role_of("other", splits) == ("", "")
