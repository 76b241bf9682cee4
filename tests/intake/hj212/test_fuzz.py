"""The fuzzing targets on their seeds, and on what fuzzing once found."""

import pytest

from fuzz import seeds, targets

REGRESSIONS = {
    "stream": [],
    "segment": [
        b"6ST=91;CN=9013;MN=1;Flag=0;CP=&&QN=20040516010101001&&",  # a head that begins with what is no field
        b"ST=C2=N;22011;MN=1;CP=&&QN=200\xcc\xcf\xca\xd6datatim];CP=&&&&",  # its ciphertext begins like a field
        b"ST=65;CN=2011;CP=&&i11001-Info=" + b"/" * 80 + b"=\xff&&",  # a hang: slashes could be matched in many ways
        # its ciphertext is a right frame too
        b"ST\xcfQN\xcf\xcc\xcfag=4;CP=&&DataTime=2019\xff\xff041=1\x00CP27.20==&\xd9%b;&&"
        % (b"\xda" * 11 + b"p" + b"\xda" * 22),
    ],
}


@pytest.mark.parametrize("target", ["stream", "segment"])
def test_seeds_and_what_was_found_keep_every_promise(target, tmp_path):
    seeds.write(target, tmp_path)
    for data in [path.read_bytes() for path in tmp_path.iterdir()] + REGRESSIONS[target]:
        getattr(targets, target)(data)


def test_a_target_notices_a_broken_promise(monkeypatch):
    monkeypatch.setattr(targets.Splitter, "feed", lambda self, data: [])
    with pytest.raises(AssertionError, match=r"missing|differ"):
        targets.stream(b"\0\0" + seeds.OWN[0])
