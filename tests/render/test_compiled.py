from pathlib import Path

from serep.render.compiled import cache_folder
from serep.render.rasteriser import cover


def test_compiled_code_is_kept_outside_the_package():
    assert Path(cover.stats.cache_path).is_relative_to(cache_folder())
    assert not Path(cover.stats.cache_path).is_relative_to(Path(__file__).parents[2])


def test_cache_moves_when_the_home_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "serep" / "numba"
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert cache_folder().parent == tmp_path and cache_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(blocked))
    assert cache_folder() is None
