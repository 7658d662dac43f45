"""The same people with other triangles: what is measured, who is left out, and that the truth is carried to the new mesh."""
import json
import logging

import numpy as np
import pytest
import torch

from serep.benchmark import topologies
from serep.benchmark.topologies import OWN, TOPOLOGIES, score_topologies
from serep.data.heads import HeadSet
from serep.geometry.mesh import Mesh
from serep.models.semantic import DisplacementPca


@pytest.fixture(scope="module")
def model(topology):
    """Two modes: the mouth's surroundings move out, or up; about 1 mm where they move most."""
    model = DisplacementPca(topology, code_size=2)
    lips = topology.template[topology.regions["lips"] > 0.5].mean(axis=0)
    for axis, row in ((2, 0), (1, 1)):
        mode = np.zeros_like(topology.template)
        mode[:, axis] = np.exp(-((topology.template - lips) ** 2).sum(axis=1) / 25**2)
        model.modes[row] = torch.from_numpy(mode.ravel() / np.linalg.norm(mode))
        model.decoder.matrix[row, row] = float(np.linalg.norm(mode))
    return model.eval()


@pytest.fixture(scope="module")
def heads(model, topology):
    """Two people, one a little larger, and two expressions of both that the model knows exactly."""
    neutrals = np.stack([topology.template, 1.03 * topology.template]).astype(np.float32)
    codes = np.array([[5.0, 0.0], [-3.0, 4.0]], np.float32)
    expressive = np.concatenate([model.bind(topology.mesh(neutral)).pose(codes) for neutral in neutrals])
    return HeadSet(
        topology=topology, subject_ids=("a", "b"), subject_splits=("test", "test"), neutrals=neutrals, expressive=expressive.astype(np.float32),
        expression_ids=("one", "two") * 2, expression_subject=np.array([0, 0, 1, 1], np.int32), weights=np.zeros((4, 0), np.float32), expression_names=(),
        provenance={})  # fmt: skip


@pytest.fixture(scope="module")
def scores(model, heads):
    return score_topologies(model, heads, people=2, seed=0)


def test_the_own_topology_loses_nothing_and_the_others_a_little(scores, heads):
    motion = np.linalg.norm(heads.expressive - heads.neutrals[heads.expression_subject], axis=-1)
    motion = motion[:, motion.mean(axis=0) > 0.3].mean()
    assert set(scores) == {OWN, *TOPOLOGIES}
    own = scores[OWN]
    assert max(own[name] for name in ("reconstruction_mm", "from_it_mm", "onto_it_mm")) < 1e-3 and own["code_difference"] == 0
    for name in TOPOLOGIES:
        one = scores[name]
        assert one["people"] == 2 and one["refused"] == 0 and 0 < one["registration_mm"] < 0.4
        for error in ("reconstruction_mm", "from_it_mm", "onto_it_mm"):
            assert own[error] < one[error] < 0.15 * motion, (name, error)
        assert 0 < one["code_difference"] < 0.2
    assert scores["face only"]["vertices"] < scores["remeshed"]["vertices"] and scores["dense face"]["vertices"] > 3.5 * scores["face only"]["vertices"]


def test_numbers_are_plain_and_the_same_again(model, heads, scores):
    assert json.loads(json.dumps(scores)) == scores
    assert score_topologies(model, heads, people=2, seed=0) == scores


def test_a_mesh_that_is_refused_is_counted_and_named(model, heads, monkeypatch, caplog):
    def spoilt(head: Mesh, topology, rng):
        mesh, carry = topologies._face_only(head, topology, rng)
        return (mesh.with_vertices(mesh.vertices / 1000) if head.vertices[0, 1] == heads.neutrals[1, 0, 1] else mesh), carry

    monkeypatch.setattr(topologies, "TOPOLOGIES", {"spoilt": spoilt})
    with caplog.at_level(logging.WARNING):
        one = score_topologies(model, heads, people=2, seed=0)["spoilt"]
    assert (one["people"], one["refused"]) == (1, 1) and "b, topology 'spoilt': refused" in caplog.text


def test_without_shared_expressions_nothing_is_scored_and_that_is_said(model, heads, caplog):
    with caplog.at_level(logging.WARNING):
        assert score_topologies(model, heads, people=1, seed=0) == {}
    assert "other topologies have no truth" in caplog.text
