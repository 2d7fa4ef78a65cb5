"""Which role ``[splits]`` gives to a path."""

import pytest

from dvtool.worktree import projects


@pytest.mark.parametrize(
    ("path", "pattern", "found"),
    [
        ("data/train/a.png", "data/train", "data/train"),
        ("data/train/a.png", "data/train/", "data/train"),
        ("data/train", "data/train", "data/train"),
        ("data/training/a.png", "data/train", None),
        ("data", "data/train", None),
        ("data/x/train/a.png", "data/*/train", "data/x/train"),
        ("data/x/y/train/a.png", "data/*/train", None),
        ("data/x/y/train/a.png", "data/**/train", "data/x/y/train"),
        ("data/train/a.png", "data/**/train", "data/train"),
        ("data/fold1_test.csv", "data/*_test.csv", "data/fold1_test.csv"),
        ("data/fold1_train.csv", "data/*_test.csv", None),
        ("data/fold12.csv", "data/fold?.csv", None),
        ("data/fold1.csv", "data/fold?.csv", "data/fold1.csv"),
        ("test.csv", "**/test.csv", "test.csv"),
        ("a/b/test.csv", "**/test.csv", "a/b/test.csv"),
        ("a/b/c", "a/**", "a/b"),
        ("data/a+b(1)/x", "data/a+b(1)", "data/a+b(1)"),
        ("data/a.b/x", "data/a?b", "data/a.b"),
        ("dataXa/x", "data.a/*", None),
    ],
)
def test_a_pattern_means_what_it_says(path, pattern, found):
    assert projects.matched(path, pattern) == found


@pytest.mark.parametrize(
    ("pattern", "directory"),
    [
        ("data/train", "data/train"),
        ("data/*/train", "data"),
        ("*.csv", ""),
        ("data/fold?.csv", "data"),
        ("a/b/**", "a/b"),
    ],
)
def test_all_that_a_pattern_can_mean_lies_in_one_directory(pattern, directory):
    assert projects.literal(pattern) == directory


def test_the_nearest_of_several_decides():
    splits = {"train": ("data",), "test": ("data/held",), "extra": ("data/**/odd",)}
    assert projects.role_of("data/a", splits) == ("train", "data")
    assert projects.role_of("data/held/a", splits) == ("test", "data/held")
    assert projects.role_of("data/held/odd/a", splits) == ("extra", "data/held/odd")
    assert projects.role_of("other", splits) == ("", "")
