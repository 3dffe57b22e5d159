"""Painter's renderer: rigid parts under a perspective camera become shaded RGB frames, face by face, through OpenCV.

Faces are drawn as face numbers at twice the size; colour is looked up per face and averaged down. So every pixel also
knows its face, which makes depth, flow and visible boxes exact (motion.py, boxes.py).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .fixtures import COUNTER_HEIGHT, Part
from .head import FOCAL_SHARE, HeadMotion
from .knobs import KitchenConfig
from .motion import FloatArray, FrameGeometry, depth_and_flow, pixel_rays
from .objects import Random
from .placement import part_placements
from .scene import Light
from .tracks import Vector

SUPERSAMPLING = 2
NEAR_METRES = 0.08
SHADOW_STRENGTH = 0.38
SUBPIXEL_BITS = 3
CHUNK_FRAMES = 24


@dataclass(frozen=True)
class Frame:
    """An RGB picture `(H, W, 3)`, the face each pixel shows (−1: none), and the geometry that gives depth and flow."""

    rgb: NDArray[np.uint8]
    faces: NDArray[np.int32]
    geometry: FrameGeometry


class Renderer:
    """All parts of a kitchen as one array of faces, drawn for any placement of the parts."""

    def __init__(self, parts: dict[str, Part], light: Light, config: KitchenConfig, random: Random) -> None:
        self.config, self.light, self.random = config, light, random
        self.names = list(parts)
        meshes = [part.mesh for part in parts.values()]
        offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
        self.vertices = np.concatenate([mesh.vertices for mesh in meshes])
        self.part_of_vertex = np.repeat(np.arange(len(meshes)), [len(mesh.vertices) for mesh in meshes])
        self.faces = np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)])
        self.part_of_face = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes]).astype(np.int32)
        self.colours = np.concatenate([mesh.colours for mesh in meshes])
        self.inner_colours = np.concatenate([mesh.inner_colours for mesh in meshes])
        self.gloss = np.concatenate([mesh.gloss for mesh in meshes])
        self.open_inside = np.concatenate([mesh.open_inside for mesh in meshes])
        self.layer = np.array([part.layer for part in parts.values()])[self.part_of_face]
        self.takes_shadow = np.array([part.takes_shadow for part in parts.values()])[self.part_of_face]
        casters = [np.flatnonzero(self.part_of_vertex == index) for index, part in enumerate(parts.values()) if part.casts_shadow]
        self.cast = np.concatenate([*casters, np.empty(0, np.int64)])  # vertices that cast shadows, part after part
        self.cast_from = np.cumsum([0, *map(len, casters)])  # where each part's begin, and the end
        self.focal = FOCAL_SHARE * config.width
        self.grain = random.normal(0, 3.0 * config.grain_level, (2 * config.height, 2 * config.width, 1)).astype(np.int16)
        self.rays = pixel_rays(config.width, config.height, self.focal)
        self.coarse_rays = pixel_rays(config.width, config.height, self.focal, 2)
        columns, rows = np.arange(config.width, dtype=np.float32), np.arange(config.height, dtype=np.float32)
        self.grid_x, self.grid_y = np.meshgrid(columns, rows)

    def film(self, head: HeadMotion, seconds: Vector) -> Iterator[Frame]:
        """All frames of a recording but the last instant of `seconds`, which only gives motion."""
        placements = part_placements(head.stage, self.names, seconds)
        for first in range(0, len(seconds) - 1, CHUNK_FRAMES):
            last = min(first + CHUNK_FRAMES, len(seconds) - 1)
            yield from self.draw(placements[first : last + 1], head, seconds[first : last + 1])

    def draw(self, placements: Vector, head: HeadMotion, seconds: Vector) -> Iterator[Frame]:
        """Frames for `placements` `(T + 1, P, 4, 4)` at `seconds` `(T + 1,)`; the last instant only gives motion."""
        position, axes = head.pose_at(seconds)
        views = np.tile(np.eye(4), (len(seconds), 1, 1))
        views[:, :3, :3] = axes.transpose(0, 2, 1)
        views[:, :3, 3] = -np.einsum("tji,tj->ti", axes, position)
        world = self.to_world(placements[:-1])
        normals, palettes = self.shade(world, position[:-1])
        for index in range(len(seconds) - 1):
            yield self.draw_one(
                world[index], normals[index], palettes[index], views[index : index + 2], placements[index : index + 2]
            )

    def to_world(self, placements: Vector) -> FloatArray:
        """Vertices `(T, V, 3)` in the world."""
        matrices = placements.astype(np.float32)[:, self.part_of_vertex]
        return np.einsum("tvij,vj->tvi", matrices[..., :3], self.vertices)[..., :3] + matrices[..., :3, 3]

    def shade(self, world: FloatArray, eye: Vector) -> tuple[FloatArray, NDArray[np.uint8]]:
        """Outward normals `(T, F, 3)` and colours `(T, F, 3)` of faces under lamp and ambient light."""
        corners = world[:, self.faces]
        normals = np.cross(corners[:, :, 2] - corners[:, :, 0], corners[:, :, 3] - corners[:, :, 1])
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
        view = eye[:, None].astype(np.float32) - corners.mean(2)
        view /= np.maximum(np.linalg.norm(view, axis=-1, keepdims=True), 1e-6)
        facing = np.einsum("tfc,tfc->tf", normals, view)
        outward = facing > 0
        towards_eye = normals * np.where(outward, 1.0, -1.0)[..., None]
        lamp_direction = np.array(self.light.direction, np.float32)
        diffuse = np.maximum(towards_eye @ lamp_direction, 0)
        halfway = view + lamp_direction
        halfway /= np.linalg.norm(halfway, axis=-1, keepdims=True)
        shine = self.gloss * np.maximum(np.einsum("tfc,tfc->tf", towards_eye, halfway), 0) ** 24
        base = np.where(outward[..., None], self.colours, self.inner_colours)
        light = np.array(self.light.ambient) + diffuse[..., None] * np.array(self.light.lamp)
        colours = base * light + 0.6 * shine[..., None]
        return normals, np.clip(colours * 255, 0, 255).astype(np.uint8)

    def draw_one(
        self, world: FloatArray, normals: FloatArray, palette: NDArray[np.uint8], views: Vector, placements: Vector
    ) -> Frame:
        camera = (world @ views[0, :3, :3].T + views[0, :3, 3]).astype(np.float32)
        camera_normals = (normals @ views[0, :3, :3].T).astype(np.float32)
        planes = np.concatenate(
            [camera_normals, np.einsum("fc,fc->f", camera_normals, camera[self.faces[:, 0]])[:, None]], 1
        )
        big = self.paint_faces(camera, planes)
        faces = big[::SUPERSAMPLING, ::SUPERSAMPLING]
        rgb = self.cast_shadows(self.colour(big, palette), faces, world, views[0])
        geometry = FrameGeometry(planes, self.part_of_face, self.part_motion(views, placements), self.focal)
        rgb = self.blur_motion(rgb, faces, geometry)
        return Frame(self.add_grain(rgb), faces, geometry)

    def colour(self, big: NDArray[np.int32], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture `(H, W, 3)` of face numbers `(2H, 2W)`; a face's three bytes are looked up as one number."""
        words = np.zeros((len(palette) + 1, 4), np.uint8)
        words[:-1, :3] = palette
        pixels = words.view(np.uint32)[:, 0].take(big).view(np.uint8).reshape(*big.shape, 4)
        small = cv2.resize(pixels, (self.config.width, self.config.height), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small[..., :3], np.uint8)

    def paint_faces(self, camera: FloatArray, planes: FloatArray) -> NDArray[np.int32]:
        """Face numbers `(2H, 2W)`, far faces first within their layer."""
        width, height = self.config.width * SUPERSAMPLING, self.config.height * SUPERSAMPLING
        depth = camera[self.faces, 2]
        scale = self.focal * SUPERSAMPLING / np.maximum(camera[:, 2:], NEAR_METRES)
        screen = camera[:, :2] * scale + np.array([width / 2, height / 2], np.float32)
        corners = screen[self.faces]
        low, high = functools.reduce(np.minimum, corners.swapaxes(0, 1)), functools.reduce(np.maximum, corners.swapaxes(0, 1))
        visible = (functools.reduce(np.minimum, depth.T) > NEAR_METRES) & (high[:, 0] > 0) & (high[:, 1] > 0)
        visible &= (low[:, 0] < width) & (low[:, 1] < height)
        visible &= (planes[:, 3] < 0) | self.open_inside
        chosen = np.flatnonzero(visible)
        order = chosen[np.lexsort((-depth[chosen].mean(1), self.layer[chosen]))]
        points = np.clip(corners[order] * (1 << SUBPIXEL_BITS), -30000, 30000).astype(np.int32)
        canvas = np.full((height, width), -1, np.int32)
        fill = cv2.fillConvexPoly
        for polygon, face in zip(points, order.tolist(), strict=True):
            fill(canvas, polygon, face, cv2.LINE_8, SUBPIXEL_BITS)
        return canvas

    def cast_shadows(
        self, rgb: NDArray[np.uint8], faces: NDArray[np.int32], world: FloatArray, view: Vector
    ) -> NDArray[np.uint8]:
        """Darken the counter under things and hands: their outlines projected along the lamp onto it."""
        mask = np.zeros(rgb.shape[:2], np.uint8)
        for outline in self.shadows(world, view):
            cv2.fillConvexPoly(mask, cv2.convexHull(outline), 255)
        mask = np.asarray(cv2.blur(mask, (5, 5)), np.uint8)
        mask[~np.append(self.takes_shadow, False)[faces]] = 0
        darkness = cv2.merge([mask] * 3)
        return np.asarray(cv2.subtract(rgb, cv2.multiply(rgb, darkness, scale=SHADOW_STRENGTH / 255)), np.uint8)

    def shadows(self, world: FloatArray, view: Vector) -> Iterator[NDArray[np.int32]]:
        """Where the vertices of each thing above the counter fall on it along the lamp, in pixels `(points, 2)`."""
        if not len(self.cast):
            return
        direction, points = np.array(self.light.direction, np.float32), world[self.cast]
        height = points[:, 1] - COUNTER_HEIGHT
        camera = (points - direction * (np.maximum(height, 0) / direction[1])[:, None]) @ view[:3, :3].T + view[:3, 3]
        middle = np.array([self.config.width / 2, self.config.height / 2])
        screen = camera[:, :2] * (self.focal / np.maximum(camera[:, 2:], NEAR_METRES)) + middle
        pixels = np.clip(screen, -4000, 4000).astype(np.int32)
        begins = self.cast_from[:-1]
        seen = (np.maximum.reduceat(height, begins) >= 0) & (np.minimum.reduceat(camera[:, 2], begins) >= NEAR_METRES)
        for number in np.flatnonzero(seen):
            yield pixels[self.cast_from[number] : self.cast_from[number + 1]]

    def part_motion(self, views: Vector, placements: Vector) -> FloatArray:
        """`(P, 3, 4)`: where each part's camera-space points are one frame later."""
        moved = views[1] @ placements[1] @ np.linalg.inv(placements[0]) @ np.linalg.inv(views[0])
        return moved[:, :3].astype(np.float32)

    def blur_motion(self, rgb: NDArray[np.uint8], faces: NDArray[np.int32], geometry: FrameGeometry) -> NDArray[np.uint8]:
        """Average along the exact motion during a half-open shutter."""
        if self.config.motion_blur_level == 0:
            return rgb
        _, coarse = depth_and_flow(faces[::2, ::2], geometry, self.coarse_rays)
        shutter = 0.5 * self.config.motion_blur_level
        flow = cv2.resize(np.clip(coarse, -12, 12), (self.config.width, self.config.height)) * shutter
        if np.abs(flow).max() < 0.5:
            return rgb
        total = np.zeros(rgb.shape, np.uint16)
        for share in (-0.45, -0.15, 0.15, 0.45):
            place = (self.grid_x + share * flow[..., 0], self.grid_y + share * flow[..., 1])
            total += np.asarray(cv2.remap(rgb, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        return (total >> 2).astype(np.uint8)

    def add_grain(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.config.grain_level == 0:
            return rgb
        y, x = self.random.integers(0, rgb.shape[0]), self.random.integers(0, rgb.shape[1])
        noisy = rgb.astype(np.int16) + self.grain[y : y + rgb.shape[0], x : x + rgb.shape[1]]
        return np.clip(noisy, 0, 255).astype(np.uint8)
