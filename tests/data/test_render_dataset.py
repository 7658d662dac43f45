"""The dataset joins parts, reads in any kind of worker, and refuses parts that do not fit together."""
import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from serep.data.render_dataset import BATCHES_AHEAD, RenderDataset, open_loader
from serep.data.schema import RENDER_ARRAYS
from serep.data.shards import DrawnImages, PartSpec, Recipe, write_part

SIZES = {"H": 6, "W": 8, "Z": 4, "L": 2}


def draw(images: range, seed: int) -> DrawnImages:
    rng = np.random.default_rng([seed, images.start])
    arrays = {layout.name: rng.integers(1, 200, layout.shape(SIZES | {"N": len(images)})).astype(layout.dtype) for layout in RENDER_ARRAYS}
    arrays["seed"] = np.array([100 * seed + image for image in images])
    return DrawnImages(arrays, ["p"] * len(images), ["e"] * len(images), [Recipe("own", (0,), (1.0,))] * len(images))


def write(folder, images: int, seed: int, **changes):
    spec = PartSpec(part=folder.name, split="train", images=images, images_per_shard=3, height_px=6, width_px=8, code_size=4, landmark_ids=(13, 14),
                    plan_hash="x", plan={}, renderer={})
    write_part(folder, dataclasses.replace(spec, **changes), lambda rows: draw(rows, seed))
    return folder


@pytest.fixture
def dataset(tmp_path) -> RenderDataset:
    return RenderDataset([write(tmp_path / "a", 7, 1), write(tmp_path / "b", 4, 2)])


def test_parts_follow_each_other(dataset):
    assert len(dataset) == 11 and dataset.sizes == SIZES | {"N": 11} and dataset.landmark_ids == (13, 14)
    assert [int(dataset[image]["seed"]) for image in range(11)] == [100, 101, 102, 103, 104, 105, 106, 200, 201, 202, 203]
    item = dataset[8]
    assert item["rgb"].shape == (6, 8, 3) and item["rgb"].dtype == item["mask"].dtype == torch.uint8
    assert item["codes"].shape == (4,) and item["landmarks"].shape == (2, 2) and item["world_to_camera"].shape == (4, 4)
    np.testing.assert_array_equal(item["rgb"], draw(range(3), 2).arrays["rgb"][1])
    with pytest.raises(IndexError, match="11 images, got 11"):
        dataset[11]


def test_load_all_is_the_same(dataset):
    arrays = dataset.load_all()
    for layout in RENDER_ARRAYS:
        assert arrays[layout.name].shape == layout.shape(dataset.sizes) and arrays[layout.name].dtype == layout.dtype
        for image in range(len(dataset)):
            np.testing.assert_array_equal(arrays[layout.name][image], dataset[image][layout.name])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same(dataset, method):
    expected = [dataset[image]["rgb"].sum() for image in range(11)]  # opens files before a fork
    loader = DataLoader(dataset, batch_size=4, num_workers=1, multiprocessing_context=method)
    batches = list(loader)
    assert [len(batch["rgb"]) for batch in batches] == [4, 4, 3]
    assert [int(rgb.sum()) for batch in batches for rgb in batch["rgb"]] == [int(value) for value in expected]


def test_parts_must_fit(tmp_path):
    write(tmp_path / "a", 3, 1)
    write(tmp_path / "other", 3, 1, landmark_ids=(13, 61))
    with pytest.raises(ValueError, match=r"other and .*a do not fit together \(other landmarks\)"):
        RenderDataset([tmp_path / "a", tmp_path / "other"])
    with pytest.raises(ValueError, match="at least one part"):
        RenderDataset([])
    with pytest.raises(FileNotFoundError, match="dvc repro -f render@none"):
        RenderDataset([tmp_path / "none"])


def test_a_batch_is_its_images(dataset):
    batch = dataset.batch([8, 0, 8])
    for name, values in batch.items():
        np.testing.assert_array_equal(values, torch.stack([torch.as_tensor(dataset[image][name]) for image in (8, 0, 8)]))
    assert batch["rgb"].dtype == torch.uint8 and batch["seed"].tolist() == [201, 100, 201]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_loaders_give_every_image_once_in_an_order_of_their_seed(dataset, method):
    """The same batches whoever reads them; the next pass has another order."""
    alone = open_loader(dataset, batch_size=5, workers=0, seed=3, start_method=method)
    together = open_loader(dataset, batch_size=5, workers=2, seed=3, start_method=method)
    passes = [[batch["seed"].tolist() for batch in alone] for _ in range(2)]
    assert passes == [[batch["seed"].tolist() for batch in together] for _ in range(2)]
    assert passes[0] != passes[1] and len(passes[0]) == 2 and len({*passes[0][0], *passes[0][1]}) == 10
    assert passes[0] != [batch["seed"].tolist() for batch in open_loader(dataset, batch_size=5, workers=0, seed=4, start_method=method)]


def test_loader_workers_read_ahead(dataset):
    """While the training step takes its time, the batches after it are read."""
    loader = iter(open_loader(dataset, batch_size=1, workers=2, seed=0, start_method="fork"))
    next(loader)
    assert loader._send_idx - loader._rcvd_idx == 2 * BATCHES_AHEAD


def test_a_batch_larger_than_the_set_is_refused(dataset):
    with pytest.raises(ValueError, match="a batch of 12 images cannot be drawn from 11"):
        open_loader(dataset, batch_size=12, workers=0, seed=0, start_method="fork")


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_reaches_the_training_step(dataset, workers):
    file = next((dataset.parts[1].folder / "images.zarr" / "mask").glob("c/1/*/*"))
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"mask/c/1/0/0 is damaged: row 3 .*dvc repro -f render@b"):
        list(open_loader(dataset, batch_size=11, workers=workers, seed=0, start_method="fork"))
