"""Polygon meshes of the simulated kitchen: lathes, boxes, tubes, grids, and what is put together from them.

Units are metres. The origin of an object is the middle of its base, y points up. Faces are quads; a triangle repeats
its last vertex. Vertices of a face turn counter-clockwise seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Mesh:
    """Vertices `(V, 3)` in metres, quads `(F, 4)`, their outer and inner RGB colours `(F, 3)` in 0–1.

    `gloss` `(F,)` is the strength of the highlight; `open_inside` faces are also seen from behind, in the inner colour.
    """

    vertices: FloatArray
    faces: NDArray[np.int32]
    colours: FloatArray
    inner_colours: FloatArray
    gloss: FloatArray
    open_inside: NDArray[np.bool_]

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
        return replace(self, vertices=self.vertices + np.array([x, y, z], np.float32))

    def turned(self, rotation: FloatArray) -> Mesh:
        return replace(self, vertices=(self.vertices @ rotation.T).astype(np.float32))

    def without(self, faces: NDArray[np.bool_]) -> Mesh:
        """The same mesh less the marked faces (cut glass is a lathe without every other pane)."""
        keep = ~faces
        return Mesh(
            self.vertices,
            self.faces[keep],
            self.colours[keep],
            self.inner_colours[keep],
            self.gloss[keep],
            self.open_inside[keep],
        )


def paint(
    vertices: FloatArray,
    faces: NDArray[np.int32],
    colour: Colour,
    *,
    inner: Colour | None = None,
    gloss: float = 0.0,
    grain: float = 0.0,
    seed: int = 0,
) -> Mesh:
    """A mesh of one colour; `grain` varies the brightness from face to face."""
    count = len(faces)
    noise = 1.0 + grain * np.random.default_rng(seed).standard_normal((count, 1))
    return Mesh(
        np.asarray(vertices, np.float32),
        np.asarray(faces, np.int32),
        np.clip(np.tile(np.array(colour, np.float32), (count, 1)) * noise, 0, 1).astype(np.float32),
        np.tile(np.array(inner if inner is not None else colour, np.float32), (count, 1)),
        np.full(count, gloss, np.float32),
        np.full(count, inner is not None, bool),
    )


def join(*meshes: Mesh) -> Mesh:
    """One rigid mesh out of several."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]).astype(np.int32),
        np.concatenate([mesh.colours for mesh in meshes]),
        np.concatenate([mesh.inner_colours for mesh in meshes]),
        np.concatenate([mesh.gloss for mesh in meshes]),
        np.concatenate([mesh.open_inside for mesh in meshes]),
    )


def lathe(
    profile: list[tuple[float, float]],
    colour: Colour,
    *,
    sides: int = 10,
    inner: Colour | None = None,
    gloss: float = 0.0,
    grain: float = 0.0,
) -> Mesh:
    """A body of revolution about y; `profile` lists (radius, height) from the base to the rim."""
    angles = np.arange(sides) * 2 * np.pi / sides
    radius, height = np.array(profile, np.float32).T
    rings = np.stack(
        [
            np.outer(radius, np.cos(angles)),
            np.repeat(height[:, None], sides, 1),
            np.outer(radius, np.sin(angles)),
        ],
        -1,
    )
    ring, side = np.meshgrid(np.arange(len(profile) - 1), np.arange(sides), indexing="ij")
    after = (side + 1) % sides
    faces = np.stack([ring * sides + side, (ring + 1) * sides + side, (ring + 1) * sides + after, ring * sides + after])
    return paint(rings.reshape(-1, 3), faces.reshape(4, -1).T, colour, inner=inner, gloss=gloss, grain=grain)


def disk(radius: float, height: float, colour: Colour, *, sides: int = 10, gloss: float = 0.0) -> Mesh:
    """A flat round face that looks up: a lid, a filling, a burner."""
    return lathe([(radius, height), (1e-4, height)], colour, sides=sides, gloss=gloss)


def box(
    width: float, height: float, depth: float, colour: Colour, *, gloss: float = 0.0, grain: float = 0.0, taper: float = 1.0
) -> Mesh:
    """A box standing on its base; `taper` scales its top."""
    half_x, half_z = width / 2, depth / 2
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    base = [(x * half_x, 0.0, z * half_z) for x, z in corners]
    top = [(x * half_x * taper, height, z * half_z * taper) for x, z in corners]
    faces = [[4, 7, 6, 5], [0, 1, 2, 3], [0, 4, 5, 1], [1, 5, 6, 2], [2, 6, 7, 3], [3, 7, 4, 0]]
    return paint(np.array(base + top, np.float32), np.array(faces), colour, gloss=gloss, grain=grain)


def open_box(width: float, height: float, depth: float, colour: Colour, inner: Colour) -> Mesh:
    """A box without its top, seen from inside as well: drawers, cupboards turned on their side."""
    body = box(width, height, depth, colour)
    body = body.without(np.array([True] + [False] * 5))
    return replace(body, inner_colours=np.tile(np.array(inner, np.float32), (5, 1)), open_inside=np.ones(5, bool))


def tube(start: Colour, stop: Colour, radius: float, stop_radius: float, colour: Colour, *, sides: int = 6) -> Mesh:
    """A cone frustum between two points: bones, handles, spouts. Its far end is closed."""
    begin, end = np.array(start, np.float32), np.array(stop, np.float32)
    length = float(np.linalg.norm(end - begin))
    body = join(
        lathe([(radius, 0.0), (stop_radius, length)], colour, sides=sides),
        disk(stop_radius, length, colour, sides=sides),
    )
    return body.turned(rotation_onto((end - begin) / max(length, 1e-6))).moved(*begin)


def rotation_onto(direction: FloatArray) -> FloatArray:
    """A rotation that takes the y axis onto the unit vector `direction`."""
    helper = np.array([0, 0, 1], np.float32) if abs(direction[2]) < 0.9 else np.array([1, 0, 0], np.float32)
    x_axis = np.cross(direction, helper)
    x_axis = x_axis / np.linalg.norm(x_axis)
    return np.stack([x_axis, direction, np.cross(x_axis, direction)], 1).astype(np.float32)


def grid(
    origin: Colour,
    along: Colour,
    across: Colour,
    columns: int,
    rows: int,
    colour: Colour,
    *,
    grain: float = 0.05,
    checker: float = 0.0,
    seed: int = 0,
) -> Mesh:
    """A plane cut into quads whose brightness varies: tiles, planks. It faces along × across."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1), indexing="ij")
    vertices = np.array(origin) + u[..., None] * np.array(along) + v[..., None] * np.array(across)
    column, row = np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij")
    first = column * (rows + 1) + row
    faces = np.stack([first, first + rows + 1, first + rows + 2, first + 1], -1).reshape(-1, 4)
    mesh = paint(vertices.reshape(-1, 3), faces, colour, grain=grain, seed=seed)
    shade = 1.0 - checker * ((column + row) % 2).reshape(-1, 1)
    return replace(mesh, colours=(mesh.colours * shade).astype(np.float32))
