"""Secrets leave no trace in what is recorded, and text that is harmless stays as it is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.capture.redaction import HIDDEN, Redactor, is_secret_name

LETTERS = "q7Zp2Xv9Lw4Rk8Tn3Mb6Hd1Jc5Gf0Ys"
TOKENS = [
    "AKIA" + "Q7ZP2XV9LW4RK8TN",
    "ghp_" + LETTERS,
    "github_pat_" + LETTERS,
    "glpat-" + LETTERS,
    "hf_" + LETTERS,
    "sk-proj-" + LETTERS,
    "sk-ant-api03-" + LETTERS,
    "sk_live_" + LETTERS,
    "xoxb-123456789012-" + LETTERS,
    "https://hooks.slack.com/services/T0/B0/" + LETTERS,
    "AIza" + (LETTERS + LETTERS)[:35],
    "ya29." + LETTERS,
    "GOCSPX-" + LETTERS,
    "npm_" + LETTERS + LETTERS[:4],
    "pypi-" + LETTERS + LETTERS,
    "dop_v1_" + "0123456789abcdef" * 4,
    f"SG.{LETTERS[:22]}.{LETTERS}",
    f"eyJ{LETTERS}.eyJ{LETTERS}.{LETTERS}",
    "AGE-SECRET-KEY-1" + LETTERS.upper(),
]
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpQIBAAKCAQEA7s\nq8Zp2Xv9Lw4Rk8Tn3\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:8])
@pytest.mark.parametrize("around", ["{}", "x = '{}'\n", "+ use({});", "a,{},b", '{{"k": "{}"}}', "\t{}\r\n", "see {}."])
def test_what_services_hand_out_is_found_wherever_it_stands(token, around):
    assert token[-20:] not in Redactor().text(around.format(token))


SAID = [
    "password=hunter2xyz",
    "Password: hunter2xyz",
    'password = "hunter2xyz"',
    "password='hunter2xyz",
    '{"db_password": "hunter2xyz"}',
    "{'api_key': 'hunter2xyz'}",
    "export API_KEY=hunter2xyz",
    "error: token=hunter2xyz",
    "host=db;token=hunter2xyz;port=1",
    "X-Api-Key: hunter2xyz",
    "Authorization: Bearer hunter2xyz",
    "Authorization: token hunter2xyz",
    "authorization: Basic aHVudGVyMnh5ego=hunter2xyz",
    "curl --token hunter2xyz",
    "mysql --password 'hunter2xyz' -h db",
    "https://me:hunter2xyz@example.org/x.git",
    "postgresql+psycopg2://me:hunter2xyz@db/x",
    "https://hunter2xyz@example.org/x.git",
    "https://me:with/slash-hunter2xyz@example.org/x.git",
    "https://example.org/x?access_token=hunter2xyz&a=b",
    "https://blob.example.org/x?sv=1&sig=hunter2xyz",
    "https://s3.example.org/x?X-Amz-Signature=hunter2xyz",
    "+  password: hunter2xyz",
    "AccountKey=hunter2xyz==;EndpointSuffix=core",
    "ENCRYPTION_KEY := hunter2xyz",
    "password=p,hunter2xyz",
]


@pytest.mark.parametrize("text", SAID)
def test_what_a_text_calls_a_secret_is_taken_out(text):
    found = Redactor().text(text)
    assert "hunter2xyz" not in found
    assert HIDDEN in found
    assert Redactor().text(found) == found


HARMLESS = [
    "max_tokens=512",
    "max_new_tokens: 1024, pad_token_id=50256",
    "tokenizer = AutoTokenizer.from_pretrained('bert-base-uncased')",
    'my_tokenizer = "bert-base-uncased"',
    "tokens_per_second: 12345.678",
    "num_tokens=8192 train_tokens=123456789",
    'pad_token = "<pad>"',
    "tokenized: Dataset = dataset.map(tokenize)",
    "def sign_in(password: str, token: Optional[str] = None) -> bool:",
    "api_key = os.environ['API_KEY']",
    "token = args.token",
    "secret = load_secret(path)",
    "password=$PASSWORD",
    "use_auth=true",
    "author: Ada Lovelace",
    "the options --password TEXT and --token must be given",
    "basic regression on a bearer market, basic understanding",
    "class='sk-toggleable__content sk-estimator-doc-link-wrapper'",
    "scikit-learn task-specific-pretraining-objective2-long-name",
    "http://localhost:8080/path/of@something",
    "ssh://git@example.org/x.git",
    "File \"train.py\", line 12, in main\n    loss = step(batch)\nKeyError: 'token'\nValueError: invalid literal: x",
    "epoch 1: loss=0.25 acc=0.9 lr=1e-3 eta: 00:12:34",
    "signature = inspect.signature(f)",
    "a5c3b2e1d4f60718a5c3b2e1d4f60718a5c3b2e1",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_stays(text):
    assert Redactor().text(text) == text


def test_keys_are_taken_out_as_a_whole():
    found = Redactor().text(f"before\n{KEY}\nafter")
    assert found == f"before\n{HIDDEN}\nafter"
    assert "MIIE" not in Redactor().text(KEY[:60])


def test_values_of_secret_variables_are_found_in_any_spelling():
    secret = 'p@ss "w/ord\\1'
    redactor = Redactor({"DB_PASSWORD": secret, "MODEL": "resnet50"})
    for text in (secret, "u=p%40ss%20%22w%2Ford%5C1", '{"a": "p@ss \\"w/ord\\\\1"}', f"x{secret}y resnet50"):
        found = redactor.text(text)
        assert "ord" not in found
    assert "resnet50" in redactor.text("resnet50")


def test_a_secret_that_begins_like_a_path_is_one_and_a_file_is_none(tmp_path):
    redactor = Redactor({"AWS_SECRET_ACCESS_KEY": "/bQ7Zp2Xv9Lw4Rk8", "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path)})
    assert redactor.text("/bQ7Zp2Xv9Lw4Rk8") == HIDDEN
    assert redactor.text(f"{tmp_path}/x") == f"{tmp_path}/x"
    assert Redactor({"PWD": "/no/such/place", "API_TOKEN": "true"}).text("/no/such/place true") == "/no/such/place true"


def test_each_line_of_a_secret_of_several_is_one():
    redactor = Redactor({"DEPLOY_KEY_SECRET": "first-line-7\nsecond-line-8"})
    assert redactor.text("got second-line-8 and first-line-7") == f"got {HIDDEN} and {HIDDEN}"


ARGUMENTS = [
    (["--password", "hunter2xyz"], ["--password", HIDDEN]),
    (["--password=hunter2xyz"], [f"--password={HIDDEN}"]),
    (["--password=123456"], [f"--password={HIDDEN}"]),
    (["--api-key=f(hunter2xyz"], [f"--api-key={HIDDEN}"]),
    (["-u", "me:hunter2xyz"], ["-u", f"me:{HIDDEN}"]),
    (["-u", "1000:1000"], ["-u", "1000:1000"]),
    (["API_TOKEN=hunter2xyz"], [f"API_TOKEN={HIDDEN}"]),
    (["sh", "-c", "login --token hunter2xyz"], ["sh", "-c", f"login --token {HIDDEN}"]),
    (["--token", "--max-tokens", "512"], ["--token", "--max-tokens", "512"]),
    (["--max-tokens=512", "--tokenizer=bert", "--auth=true"], ["--max-tokens=512", "--tokenizer=bert", "--auth=true"]),
    (["-H", "X-Api-Key: hunter2xyz"], ["-H", f"X-Api-Key: {HIDDEN}"]),
    (["s3://me:hunter2xyz@host/x"], [f"s3://{HIDDEN}@host/x"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "wanted"), ARGUMENTS, ids=lambda words: words[0])
def test_command_lines_keep_everything_but_secrets(words, wanted):
    assert list(Redactor().arguments(words)) == wanted


def test_parameters_under_secret_names_are_hidden_whatever_their_type():
    given_ = {
        "db": {"password": 123456, "port": 5432},
        "api_key": ["a", "b"],
        "max_tokens": 512,
        "auth": True,
        "n": "x",
    }
    wanted = {
        "db": {"password": HIDDEN, "port": 5432},
        "api_key": [HIDDEN] * 2,
        "max_tokens": 512,
        "auth": True,
        "n": "x",
    }
    assert Redactor().value("", given_) == wanted
    assert Redactor().value("", {TOKENS[1]: 1}) == {HIDDEN: 1}


@pytest.mark.parametrize(
    "name", ["API_TOKEN", "password", "db.passwd", "client_secret", "api_tokens", "HF_TOKEN", "x-api-key"]
)
def test_names_that_say_secret(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "tokenizer",
        "hf_tokenizer_path",
        "tokenized",
        "pad_token_id",
        "secretary",
        "author",
        "monkey",
        "token_type_ids",
    ],
)
def test_names_that_do_not(name):
    assert not is_secret_name(name)


MEGABYTE = 1_000_000
LINES = [
    "a", "token", "token.", "token=", "tokeniz.", "password ", "a://", "://a", "://a:", "bearer ", "bearer\t", "eyJ",
    "-eyJ-", "eyJa.", "sk-", "sk-a-", "SG.", "-----BEGIN PRIVATE KEY", "-----BEGIN PRIVATE KEY-----", "?token", "?a&",
    "x-amz-", '="', "token='\\'", 'token="\\', "--token ", "-", "--", "ghp_", "xoxb-", "basic a", "AKIA", "_token_",
    "token: ", " ", "\\", "a.b-c_", "secret=[redacted", "hf_", "é", "auth ", "token=(", "://a:1/", "authorization: ",
]  # fmt: skip


@pytest.mark.parametrize("piece", LINES)
def test_a_line_of_a_megabyte_takes_no_time(piece):
    redactor = Redactor({"API_TOKEN": "q7Zp2Xv9Lw4Rk8"})
    for line in (piece * (MEGABYTE // len(piece)), "token" + piece * (MEGABYTE // len(piece)) + ".\n"):
        began = time.process_time()
        redactor.text(line)
        assert time.process_time() - began < 1.5


@given(st.lists(st.sampled_from([*LINES, *TOKENS, *SAID, *HARMLESS, KEY, "\n", "x"]), max_size=12))
def test_nothing_hides_a_secret_from_being_found(pieces):
    once = Redactor().text("\n".join(pieces))
    assert all(token[-20:] not in once for token in TOKENS)
