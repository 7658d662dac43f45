"""Builds serep/faces/assets/ict_landmarks.npz: our landmarks on the ICT face, as triangles and weights. No vertex of ICT-FaceKit is in it.

    python tools/pack_ict_landmarks.py --ict ICT-FaceKit --landmarks mediapipe478_on_ict.npz --out serep/faces/assets/ict_landmarks.npz

The template comes from a checkout's FaceXModel (complete or not) or from a compact ict_face.npz.
"""
from __future__ import annotations

import numpy as np
from pack_makehuman import read_arguments, symmetric_landmarks, write_asset

from serep.faces.ict import faces_hash, read_face


def main() -> None:
    arguments = read_arguments(__doc__, ict="checkout or compact file", landmarks="mediapipe478_on_ict.npz", out="the asset to write")
    face = read_face(arguments.ict, partial=True)
    marks = symmetric_landmarks(np.load(arguments.landmarks, allow_pickle=False), face.template, face.faces)
    write_asset(arguments.out, marks | {"faces_sha256": np.array(faces_hash(face.faces))})
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e3:.1f} kB")


if __name__ == "__main__":
    main()
