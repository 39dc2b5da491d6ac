"""The short way into MediaPipe says what the public way says, bit for bit, and knows when it must not go."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def run(code: str, *arguments: str) -> str:
    """In a process of its own: no test process loads MediaPipe, which is made to be confined first."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_says_what_the_public_call_says_bit_for_bit(tmp_path: Path, astronaut: Image) -> None:
    """Contract with MediaPipe's private parts: a moving face, an empty frame, a face again, a wrong time."""
    empty = np.full_like(astronaut, 90)
    pictures = [np.roll(astronaut, 5 * step, axis=1) for step in range(6)] + [empty, astronaut]
    path = tmp_path / "pictures.npy"
    np.save(path, np.ascontiguousarray(np.stack(pictures)[..., ::-1]))
    code = """
        import sys
        import numpy as np
        from mien_client.face.landmarks import Landmarker
        from mien_client.face.mediapipe_direct import DirectLandmarker, unavailable_because

        pictures = np.load(sys.argv[1])
        assert unavailable_because() == ""
        ours = Landmarker()
        public, direct = Landmarker(), DirectLandmarker(ours._landmarker)
        seen = 0
        for number, rgb in enumerate(pictures):
            result = public.detect(rgb, number * 40)
            found = direct.find(rgb, number * 40)
            assert (found is None) == (not result.face_landmarks), number
            if found is None:
                continue
            seen += 1
            points = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0]], np.float32)
            np.testing.assert_array_equal(found.landmarks, points)
            assert found.landmarks.shape == (478, 3)
            scores = {shape.category_name: shape.score for shape in result.face_blendshapes[0]}
            assert list(found.blendshapes.items()) == list(scores.items())
            assert len(scores) == 52
            np.testing.assert_array_equal(found.matrix, result.facial_transformation_matrixes[0])
        errors = []
        for find in (lambda: public.detect(rgb, 3), lambda: direct.find(rgb, 3)):
            try:
                find()
            except ValueError as error:
                errors.append(str(error))
        assert len(errors) == 2 and errors[0] == errors[1], errors
        print(seen)
    """
    assert run(code, str(path)) == "7"


def test_another_mediapipe_is_left_to_its_public_call(tmp_path: Path, astronaut: Image) -> None:
    """Another version, or another layout: said, and the face is found all the same."""
    path = tmp_path / "picture.npy"
    np.save(path, np.ascontiguousarray(astronaut[..., ::-1]))
    code = """
        import ctypes, sys
        import mediapipe, numpy as np
        from mediapipe.tasks.python.vision import face_landmarker
        from mien_client.face.landmarks import Landmarker
        from mien_client.face.mediapipe_direct import unavailable_because

        rgb = np.load(sys.argv[1])
        direct = Landmarker()
        usual = direct.find(rgb, 0)
        assert direct._direct is not None
        version = mediapipe.__version__
        mediapipe.__version__ = "9.9"
        reasons = [unavailable_because()]
        other = Landmarker()
        assert other._direct is None
        found = other.find(rgb, 0)
        np.testing.assert_array_equal(found.points, usual.points)
        np.testing.assert_array_equal(found.rotation, usual.rotation)
        assert found.blendshapes == usual.blendshapes
        mediapipe.__version__ = version
        face_landmarker.MpFaceLandmarkerResultC = ctypes.c_int
        reasons.append(unavailable_because())
        assert Landmarker()._direct is None
        print(*reasons, sep="\\n")
    """
    assert run(code, str(path)).splitlines() == [
        "MediaPipe is 9.9, known is 1.2.2",
        "type object 'c_int' has no attribute '_fields_'",
    ]
