"""Every kind of picture file becomes the same upright RGB array, or an error that names it."""
import numpy as np
import pytest
from PIL import Image

from serep.data.images import image_paths, read_image


@pytest.fixture
def picture() -> np.ndarray:
    """Four corners of different colours, 6 x 8: any turn or swap of channels shows."""
    image = np.full((6, 8, 3), 40, np.uint8)
    image[:2, :2], image[:2, -2:], image[-2:, :2], image[-2:, -2:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_lossless_formats_keep_every_pixel(tmp_path, picture, suffix):
    Image.fromarray(picture).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), picture)


def test_grey_and_palette(tmp_path, picture):
    grey = picture[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))
    Image.fromarray(picture).quantize(8).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), picture)


def test_transparent_areas_are_white(tmp_path, picture):
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[3:] = 0
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image[:3], picture[:3])
    assert (image[3:] == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_brightness(tmp_path, suffix):
    values = np.linspace(0, 65_535, 48).astype(np.uint16).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"deep.{suffix}")[..., 1], values >> 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, picture, orientation):
    # What a camera stores for each value so that the upright view is `picture` (EXIF 2.3, tag 0x0112).
    stored = {1: picture, 2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1], 5: picture.transpose(1, 0, 2), 6: np.rot90(picture, 1),
              7: np.rot90(picture, 2).transpose(1, 0, 2), 8: np.rot90(picture, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)


def test_errors_name_the_file(tmp_path, picture):
    with pytest.raises(FileNotFoundError, match=r"no picture at .*gone"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ValueError, match=r"text\.jpg is not a picture"):
        read_image(tmp_path / "text.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"half\.jpg is damaged"):
        read_image(tmp_path / "half.jpg")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif holds floating-point"):
        read_image(tmp_path / "float.tif")


def test_image_paths_are_sorted(tmp_path, picture):
    with pytest.raises(FileNotFoundError, match="no folder"):
        image_paths(tmp_path / "none")
    assert image_paths(tmp_path) == []
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "sub/c.png", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in image_paths(tmp_path)] == ["a.jpg", "b.PNG", "c.png"]


def test_reads_every_real_picture(shared_data):
    paths = image_paths(shared_data / "real" / "images")
    assert len(paths) >= 50
    assert all(read_image(path).shape[2] == 3 for path in paths[::7])
