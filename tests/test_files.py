import pytest

from serep.files import partial_file, write_file


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "data.bin"
    with partial_file(path) as partial:
        partial.write_bytes(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half" and [one.name for one in path.parent.iterdir()] == ["data.bin"]
    write_file(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "data.bin"
    write_file(path, b"before")

    def write_half():
        with partial_file(path) as partial:
            partial.write_bytes(b"half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk is full"):
        write_half()
    assert path.read_bytes() == b"before" and [one.name for one in tmp_path.iterdir()] == ["data.bin"]
