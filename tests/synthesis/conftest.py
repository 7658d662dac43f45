"""A few built-in heads, a semantic model of four displacement modes, and a plan of twelve small images."""
from pathlib import Path

import numpy as np
import pytest
import torch

from serep.data.heads import gather_heads, read_heads, write_heads
from serep.data.preprocess import preprocess
from serep.faces import BUILT_IN_HEADS, SubjectPlan
from serep.models.pca import principal_modes
from serep.models.semantic import DisplacementPca
from serep.render.sampling import SceneRanges
from serep.synthesis.codes import CodeMix
from serep.synthesis.plan import PartInputs, PartPlan

CODE_SIZE = 4
MIX = CodeMix(training=0.3, faint=0.2, interpolated=0.15, summed=0.15, halves=0.1, extrapolated=0.1, halves_per_person=2, extrapolation_max=1.3,
              reach=1.2)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, head_model) -> PartInputs:
    folder: Path = tmp_path_factory.mktemp("synthesis")
    people = SubjectPlan(train_people=3, val_people=1, test_people=2, expressions_per_person=4, test_expressions=3, units_min=2, units_max=6,
                         weight_min=0.2, weight_max=1.0, symmetric_share=0.6)
    heads, problems = gather_heads(head_model.subjects(people, seed=0), topology=head_model.topology, expression_names=head_model.expression_names,
                                   provenance={})
    sound, quarantine = preprocess(heads, max_quarantine_share=0.1, left_out=problems)
    write_heads(folder / "surfaces", sound, quarantine=quarantine)
    train = sound.select("train")
    displacements = (train.expressive - train.neutrals[train.expression_subject]).reshape(len(train.expressive), -1)
    modes, deviation = principal_modes(displacements, np.ones(displacements.shape[1]), CODE_SIZE)
    model = DisplacementPca(head_model.topology, code_size=CODE_SIZE)
    model.modes.copy_(torch.from_numpy(modes))
    model.decoder.matrix.copy_(torch.diag(torch.from_numpy(deviation.astype(np.float32))))
    model.save(folder / "semantic")
    return PartInputs(heads=folder / "surfaces", semantic_model=folder / "semantic", head_source="makehuman", head_path=BUILT_IN_HEADS)


@pytest.fixture(scope="session")
def heads(inputs):
    return read_heads(inputs.heads)


@pytest.fixture(scope="session")
def plan() -> PartPlan:
    ranges = SceneRanges(
        yaw_max_deg=40.0, pitch_max_deg=20.0, roll_max_deg=15.0, view_min_deg=15.0, view_max_deg=50.0, margin_min=1.2, margin_max=1.6,
        shift_max=0.05, gaze_max_deg=20.0, surroundings_min=0.3, surroundings_max=0.8, surroundings_contrast=0.5, lamp_min=0.1, lamp_max=0.8,
        lamp_azimuth_max_deg=70.0, lamp_elevation_min_deg=-10.0, lamp_elevation_max_deg=70.0, tint=0.1,
        shadow_share=0.8, bald_share=0.1, beard_share=0.3, grey_share=0.1, makeup_share=0.15, glasses_share=0.2, occluder_share=0.1)
    return PartPlan(part="train-0", split="train", first_image=0, images=12, seed=5, size_px=64, images_per_shard=4, people_per_shard=2,
                    codes=MIX, backend="numba", fallback=None, ranges=ranges, inputs={"heads": "abc", "semantic": "def"})
