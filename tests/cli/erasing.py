"""How files of a person are erased in a repository of two, and what is there then: see the fixture ``people``."""

P17 = "data/people/p17"
SECRET = "the diagnosis of number seventeen\n"


def erase(dv, *words, code=0):
    return dv("erase", *words, "--yes", "--json", code=code)


def snapshots(dv):
    return {each["message"]: each for each in dv("log", "--json").json}


def listed(dv, revision="HEAD"):
    return [each["path"] for each in dv("ls", "-r", revision, "--json").json if each["kind"] != "dir"]
