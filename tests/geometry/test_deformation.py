import numpy as np
import pytest
from mesh_shapes import joined, random_rotation, sphere

from serep.geometry import Mesh, PoissonSolver, apply_rigid, deformation_gradients, deformation_transfer

FIXED = np.array([0, 3, 17])


def bumpy(mesh: Mesh, rng: np.random.Generator, size: float) -> Mesh:
    return mesh.with_vertices(mesh.vertices + size * rng.standard_normal(mesh.vertices.shape))


def expressions(mesh: Mesh, rng: np.random.Generator, count: int = 3) -> np.ndarray:
    """Random displacements of up to some mm that leave the fixed vertices alone."""
    displacements = 2 * rng.standard_normal((count, *mesh.vertices.shape))
    displacements[:, FIXED] = 0
    return mesh.vertices + displacements


def test_gradients_are_identity_at_rest_and_the_rotation_when_turned(rng):
    mesh = bumpy(sphere(), rng, 2)
    identity = np.broadcast_to(np.eye(3), (len(mesh.faces), 3, 3))
    np.testing.assert_allclose(deformation_gradients(mesh.vertices, mesh.vertices, mesh.faces), identity, atol=1e-12)
    rotation = random_rotation(rng)
    turned = apply_rigid(mesh.vertices, rotation, np.array([4.0, 5.0, 6.0]))
    gradients = deformation_gradients(mesh.vertices, np.stack([turned, mesh.vertices * 3]), mesh.faces)
    np.testing.assert_allclose(gradients[0], np.broadcast_to(rotation, gradients[0].shape), atol=1e-12)
    np.testing.assert_allclose(gradients[1], 3 * identity, atol=1e-12)


def test_gradients_carry_edges(rng):
    mesh = bumpy(sphere(), rng, 2)
    deformed = expressions(mesh, rng, 1)[0]
    gradients = deformation_gradients(mesh.vertices, deformed, mesh.faces)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        before = mesh.vertices[mesh.faces[:, second]] - mesh.vertices[mesh.faces[:, first]]
        after = deformed[mesh.faces[:, second]] - deformed[mesh.faces[:, first]]
        np.testing.assert_allclose(np.einsum("fij,fj->fi", gradients, before), after, atol=1e-10)


def test_solve_gives_a_mesh_back_from_its_own_gradients(rng):
    mesh = bumpy(sphere(), rng, 2)
    expressive = expressions(mesh, rng)
    solver = PoissonSolver(mesh, fixed=FIXED)
    solved = solver.solve(deformation_gradients(mesh.vertices, expressive, mesh.faces))
    np.testing.assert_allclose(solved, expressive, atol=1e-9)
    assert np.array_equal(solved[:, FIXED], np.broadcast_to(mesh.vertices[FIXED], (3, 3, 3)))


def test_solve_is_neutral_plus_a_linear_displacement(rng):
    mesh = bumpy(sphere(), rng, 2)
    solver = PoissonSolver(mesh, fixed=FIXED)
    offsets = rng.standard_normal((2, 20, len(mesh.faces), 3, 3))  # more than one pass
    displacements = solver.solve_displacements(offsets)
    np.testing.assert_allclose(solver.solve(np.eye(3) + offsets), mesh.vertices + displacements, atol=1e-9)
    np.testing.assert_allclose(solver.solve_displacements(2 * offsets[0] - offsets[1]), 2 * displacements[0] - displacements[1], atol=1e-9)
    np.testing.assert_allclose(solver.solve_displacements(offsets[1, 3]), displacements[1, 3], atol=1e-9)
    assert not solver.solve_displacements(0 * offsets[0]).any()


def test_solve_is_the_least_squares_answer(rng):
    """For gradients that no mesh has, the surface gradients of the answer are the nearest in the area-weighted norm."""
    from serep.geometry import surface_operators

    mesh = bumpy(sphere(), rng, 2)
    operators = surface_operators(mesh)
    solver = PoissonSolver(mesh, fixed=FIXED)
    wanted = rng.standard_normal((len(mesh.faces), 3, 3))
    own = (operators.gradient @ mesh.vertices).reshape(-1, 3, 3)
    goal = np.einsum("fab,fcb->fac", own, wanted).reshape(-1, 3)
    free = np.setdiff1d(np.arange(len(mesh.vertices)), FIXED)
    weights = np.sqrt(np.repeat(operators.face_areas, 3))[:, None]
    gradient = operators.gradient.toarray()
    expected = mesh.vertices.copy()
    expected[free] = np.linalg.lstsq(weights * gradient[:, free], weights * (goal - gradient[:, FIXED] @ mesh.vertices[FIXED]), rcond=None)[0]
    np.testing.assert_allclose(solver.solve(wanted), expected, atol=1e-8)


def test_transfer_onto_the_same_neutral_gives_the_expressive_back(rng):
    mesh = bumpy(joined(sphere(), sphere(radius=5.0, centre=(0.0, 0.0, 60.0))), rng, 0.2)
    expressive = expressions(mesh, rng, 20)
    solver = PoissonSolver(mesh, fixed=FIXED)
    assert len(solver.floating_parts) == 1
    np.testing.assert_allclose(deformation_transfer(mesh.vertices, expressive, solver), expressive, atol=1e-9)


def test_transfer_scales_with_the_target(rng):
    source = bumpy(sphere(), rng, 2)
    target = source.with_vertices(2 * source.vertices + [0, 10, 0])
    expressive = expressions(source, rng)
    moved = deformation_transfer(source.vertices, expressive, PoissonSolver(target, fixed=FIXED))
    np.testing.assert_allclose(moved - target.vertices, 2 * (expressive - source.vertices), atol=1e-9)


def test_floating_part_turns_about_its_centroid(rng):
    """An eyeball, which no fixed vertex holds, turns in place; a vertex without faces stays."""
    eye = sphere(radius=5.0, centre=(0.0, 0.0, 60.0))
    mesh = joined(sphere(), eye)
    mesh = Mesh(np.concatenate([mesh.vertices, [[1.0, 2.0, 3.0]]]), mesh.faces)
    eye_faces = len(eye.faces)
    rotation = random_rotation(rng)
    gradients = np.broadcast_to(np.eye(3), (len(mesh.faces), 3, 3)).copy()
    gradients[-eye_faces:] = rotation
    solved = PoissonSolver(mesh, fixed=FIXED).solve(gradients)
    ids = np.arange(len(mesh.vertices))[-1 - len(eye.vertices) : -1]
    centre = mesh.vertices[ids].mean(axis=0)
    np.testing.assert_allclose(solved[ids], (mesh.vertices[ids] - centre) @ rotation.T + centre, atol=1e-9)
    rest = np.setdiff1d(np.arange(len(mesh.vertices)), ids)
    np.testing.assert_allclose(solved[rest], mesh.vertices[rest], atol=1e-9)


def test_everything_fixed_stays(rng):
    mesh = sphere()
    solver = PoissonSolver(mesh, fixed=np.arange(len(mesh.vertices)))
    assert np.array_equal(solver.solve(rng.standard_normal((len(mesh.faces), 3, 3))), mesh.vertices)


def test_refusals(rng):
    mesh = sphere()
    solver = PoissonSolver(mesh, fixed=FIXED)
    with pytest.raises(ValueError, match="at least one"):
        PoissonSolver(mesh, fixed=np.array([], int))
    with pytest.raises(ValueError, match="vertices 0 to"):
        PoissonSolver(mesh, fixed=np.array([len(mesh.vertices)]))
    flat = Mesh(mesh.vertices, np.concatenate([mesh.faces, [[3, 3, 4]]]))
    with pytest.raises(ValueError, match=f"face {len(mesh.faces)}"):
        PoissonSolver(flat, fixed=FIXED)
    with pytest.raises(ValueError, match="of the neutral have no area"):
        deformation_gradients(mesh.vertices, mesh.vertices, flat.faces)
    with pytest.raises(ValueError, match="one topology"):
        solver.solve(np.zeros((5, 3, 3)))
    with pytest.raises(ValueError, match="finite"):
        solver.solve(np.full((len(mesh.faces), 3, 3), np.nan))
    with pytest.raises(ValueError, match="one topology"):
        deformation_transfer(np.zeros((5, 3)), np.zeros((1, 5, 3)), solver)


def test_real_head_round_trip(shared_data):
    """ICT face part: twenty blended expressions go to gradients and back."""
    from serep.geometry import triangulate

    with np.load(shared_data / "ict" / "ict_face.npz", allow_pickle=False) as arrays:
        neutral = Mesh(10.0 * arrays["vertices"], triangulate(arrays["quads"]))
        displacements = 10 * float(arrays["step_cm"]) * arrays["expression_q"][:20].transpose(0, 2, 1)
    fixed = np.argsort(np.linalg.norm(displacements, axis=2).max(axis=0))[:300]
    displacements[:, fixed] = 0
    solver = PoissonSolver(neutral, fixed=fixed)
    transferred = deformation_transfer(neutral.vertices, neutral.vertices + displacements, solver)
    np.testing.assert_allclose(transferred, neutral.vertices + displacements, atol=1e-9)
