import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serep.data.alike import BITS, Groups, Seen, edge_hash


def picture(seed, size=200):
    return cv2.resize(np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)


def differing(one, other):
    return np.bitwise_count(edge_hash(one) ^ edge_hash(other)).sum() / BITS


def test_size_compression_and_brightness_do_not_matter_and_content_does():
    whole = picture(0)
    _, coded = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, 40])
    for other in (cv2.resize(whole, (90, 120), interpolation=cv2.INTER_AREA), cv2.imdecode(coded, cv2.IMREAD_COLOR), (whole * 0.7).astype(np.uint8)):
        assert differing(whole, other) < 0.05
    assert min(differing(whole, picture(seed)) for seed in range(1, 8)) > 0.25


def test_the_nearest_come_first_and_the_far_not_at_all(rng):
    seen, first = Seen(), rng.integers(256, size=64, dtype=np.uint8)
    for owner, bits in ((5, 3), (6, 0), (7, 200)):
        other = first.copy()
        other[:bits] ^= 1
        seen.add(other, owner)
    assert seen.owners_near(first, 0.01) == [6, 5] and Seen().owners_near(first, 0.5) == []
    for owner in range(8, 600):  # grows
        seen.add(rng.integers(256, size=64, dtype=np.uint8), owner)
    assert seen.owners_near(first, 0.01) == [6, 5]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30))
def test_groups_are_what_pairs_connect(pairs):
    groups = Groups()
    for one, other in pairs:
        groups.join(f"{one:02d}", f"{other:02d}")
    reach = np.eye(13, dtype=bool)
    for one, other in pairs:
        reach[one, other] = reach[other, one] = True
    for _ in range(13):
        reach = (reach.astype(int) @ reach) > 0
    for one in range(13):
        assert groups.find(f"{one:02d}") == f"{np.flatnonzero(reach[one]).min():02d}"
