"""MediaPipe's FaceLandmarker past its Python layer: the same C call, its result read with numpy.

Runs inside the face process only. Enters: RGB frames. Leaves (to :mod:`mien_client.face.landmarks`, same
process): landmarks, blendshapes and the face's matrix. Never leaves: the frame.

The public call hands each frame to a thread of its own and builds 530 Python objects from the answer,
0.7 ms of the 6.8 ms that a frame takes. The names used here are private to MediaPipe, so this is the
only file that knows them: they are tried at the start, :class:`DirectUnavailableError` says which is not
there, and the caller takes the public call instead. A contract test compares both bit for bit.
"""

import ctypes
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

KNOWN_VERSION: Final = "1.2.2"
"""The release of MediaPipe whose layout this was written to and is tested with."""


class DirectUnavailableError(Exception):
    """This MediaPipe is put together differently."""


class Found(NamedTuple):
    """One face, as MediaPipe gives it."""

    landmarks: NDArray[np.float32]
    """(478, 3) shares of width, height, width."""
    blendshapes: dict[str, float]
    matrix: NDArray[np.float32]
    """(4, 4)"""


class DirectLandmarker:
    """Calls a ``vision.FaceLandmarker`` in VIDEO mode directly, from one thread.

    Raises
    ------
    DirectUnavailableError
        A private name or shape it builds on is missing.
    """

    def __init__(self, landmarker: Any) -> None:
        try:
            self._bind(landmarker)
        except (ImportError, AttributeError, TypeError, KeyError) as error:
            raise DirectUnavailableError(str(error)) from error

    def _bind(self, landmarker: Any) -> None:
        import mediapipe
        from mediapipe.tasks.python.core import mediapipe_c_bindings, mediapipe_c_utils

        self._result_type, self._point_bytes, self._category_bytes = _layout()
        self._handle = landmarker._handle
        self._check = mediapipe_c_utils.handle_status
        library = mediapipe_c_bindings.load_raw_library()
        # By item, not by attribute: function objects of our own, which MediaPipe's declarations don't share.
        self._create_image = library["MpImageCreateFromUint8Data"]
        self._create_image.argtypes = (
            *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
            *(ctypes.c_void_p, ctypes.c_void_p),
        )
        self._free_image = library["MpImageFree"]
        self._free_image.argtypes, self._free_image.restype = (ctypes.c_void_p,), None
        self._detect = library["MpFaceLandmarkerDetectForVideo"]
        self._detect.argtypes = (
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64),
            *(ctypes.c_void_p, ctypes.c_void_p),
        )
        self._close_result = library["MpFaceLandmarkerCloseResult"]
        self._close_result.argtypes, self._close_result.restype = (ctypes.c_void_p,), None
        self._free_error = library["MpErrorFree"]
        self._free_error.argtypes, self._free_error.restype = (ctypes.c_void_p,), None
        self._srgb = int(mediapipe.ImageFormat.SRGB)
        self._names: list[str] = []
        self._indices = b""

    def find(self, rgb: NDArray[np.uint8], timestamp_ms: int) -> Found | None:
        """The face in a frame, or None; raises what the public call raises."""
        height, width = rgb.shape[:2]
        rgb = np.ascontiguousarray(rgb)
        image, error, result = ctypes.c_void_p(), ctypes.c_char_p(), self._result_type()
        status = self._create_image(
            *(self._srgb, width, height, rgb.ctypes.data, rgb.size),
            *(ctypes.byref(image), ctypes.byref(error)),
        )
        self._raise_unless_ok(status, error)
        try:
            status = self._detect(
                *(self._handle, image, None, timestamp_ms, ctypes.byref(result), ctypes.byref(error)),
            )
            self._raise_unless_ok(status, error)
            try:
                return self._read(result)
            finally:
                self._close_result(ctypes.byref(result))
        finally:
            self._free_image(image)

    def _read(self, result: Any) -> Found | None:
        if not result.face_landmarks_count or not result.facial_transformation_matrixes_count:
            return None
        points = result.face_landmarks[0]
        matrix = result.facial_transformation_matrixes[0]
        landmarks = _view(points.landmarks, (points.landmarks_count, 3), (self._point_bytes, 4), np.float32)
        columns = _view(matrix.data, (matrix.rows, matrix.cols), (4, 4 * matrix.rows), np.float32)
        return Found(landmarks.copy(), self._blendshapes(result.face_blendshapes[0]), columns.copy())

    def _blendshapes(self, shapes: Any) -> dict[str, float]:
        count, step = shapes.categories_count, self._category_bytes
        # As they lie in memory: index, score, and two strings of C. The strings are read once only.
        indices = _view(shapes.categories, (count, 1), (step, 4), np.int32).tobytes()
        if indices != self._indices:
            self._indices = indices
            self._names = [shapes.categories[number].category_name.decode() for number in range(count)]
        scores = _view(shapes.categories, (count, 2), (step, 4), np.float32)[:, 1]
        return dict(zip(self._names, scores.tolist(), strict=True))

    def _raise_unless_ok(self, status: int, error: ctypes.c_char_p) -> None:
        if status == 0:
            return
        try:
            self._check(status, error)
        finally:
            if error.value is not None:
                self._free_error(error)


def unavailable_because() -> str:
    """Why frames have to take the slower, public way into MediaPipe; empty where they don't."""
    try:
        _layout()
    except (DirectUnavailableError, ImportError, AttributeError, KeyError) as error:
        return str(error)
    return ""


def _layout() -> tuple[Any, int, int]:
    """C's type of a result, and the bytes of a landmark and of a blendshape in it."""
    import mediapipe
    from mediapipe.tasks.python.vision import face_landmarker

    if mediapipe.__version__ != KNOWN_VERSION:
        raise DirectUnavailableError(f"MediaPipe is {mediapipe.__version__}, known is {KNOWN_VERSION}")
    result = face_landmarker.MpFaceLandmarkerResultC
    lists = dict(result._fields_)
    point = dict(lists["face_landmarks"]._type_._fields_)["landmarks"]._type_
    category = dict(lists["face_blendshapes"]._type_._fields_)["categories"]._type_
    offsets = (point.x.offset, point.y.offset, point.z.offset, category.index.offset, category.score.offset)
    if offsets != (0, 4, 8, 0, 4):
        raise DirectUnavailableError("a landmark or a blendshape is laid out differently")
    return result, ctypes.sizeof(point), ctypes.sizeof(category)


def _view(pointer: Any, shape: tuple[int, int], strides: tuple[int, int], kind: type) -> NDArray[Any]:
    """An array over memory of C, four bytes an item; it is gone once the result is closed."""
    address = ctypes.cast(pointer, ctypes.c_void_p).value
    if address is None:
        raise RuntimeError("MediaPipe announced a result and gave none")
    size = sum((count - 1) * step for count, step in zip(shape, strides, strict=True)) + 4
    memory = memoryview((ctypes.c_char * size).from_address(address))
    return np.ndarray(shape, kind, memory, strides=strides)
