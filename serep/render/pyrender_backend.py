"""pyrender, tuned: colours lit per vertex on the CPU and drawn flat, no multisampling, twice the size averaged down."""
from __future__ import annotations

import importlib.metadata
import logging

import numpy as np

from serep.render.opengl import import_pyrender, open_context
from serep.render.rasteriser import SUPERSAMPLING, projected, sides_and_labels
from serep.render.renderer import Layers, check_scene, closed_faces, face_labels, resolve, sample_intrinsics
from serep.render.scene import Scene
from serep.render.shading import INSIDE_SHARE, lit_colours

logger = logging.getLogger(__name__)
NEAR, FAR = 50.0, 20_000.0
"""mm; clipping planes."""
GL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def _framebuffer_without_multisampling(pyrender):
    """pyrender's inner renderer with a plain framebuffer, read back as it lies in memory (bottom row first, depth 0..1)."""
    from OpenGL import GL

    class PlainRenderer(pyrender.Renderer):
        def _configure_main_framebuffer(self):
            size = (self.viewport_width, self.viewport_height)
            if self._main_fb is not None and self._main_fb_dims != size:
                self._delete_main_framebuffer()
            if self._main_fb is not None:
                return
            self._main_cb, self._main_db = GL.glGenRenderbuffers(2)
            self._main_fb = GL.glGenFramebuffers(1)
            GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._main_fb)
            for buffer, layout, place in (
                (self._main_cb, GL.GL_RGBA8, GL.GL_COLOR_ATTACHMENT0),
                (self._main_db, GL.GL_DEPTH_COMPONENT32F, GL.GL_DEPTH_ATTACHMENT),
            ):
                GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, buffer)
                GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, layout, *size)
                GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, place, GL.GL_RENDERBUFFER, buffer)
            # The base class binds this name to draw into.
            self._main_fb_ms = self._main_fb
            self._main_fb_dims = size

        def _delete_main_framebuffer(self):
            if self._main_fb is not None:
                GL.glDeleteFramebuffers(1, [self._main_fb])
                GL.glDeleteRenderbuffers(2, [self._main_cb, self._main_db])
            self._main_fb = self._main_fb_ms = self._main_cb = self._main_db = None
            self._main_fb_dims = (None, None)

        def _read_main_framebuffer(self, scene, flags):
            width, height = self._main_fb_dims
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb)
            GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
            colour, depth = np.empty((height, width, 4), np.uint8), np.empty((height, width), np.float32)
            GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, colour)
            GL.glReadPixels(0, 0, width, height, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, depth)
            return colour, depth

    return PlainRenderer


class PyrenderRenderer:
    """Renderer over EGL: software GL on a machine without a GPU, the driver's on one with."""

    name = "pyrender"

    def __init__(self, size_px: int):
        self.size_px = size_px
        self._context = open_context()
        self._pyrender = import_pyrender()
        self._renderer = _framebuffer_without_multisampling(self._pyrender)(size_px * SUPERSAMPLING, size_px * SUPERSAMPLING)
        self._material = self._pyrender.MetallicRoughnessMaterial(doubleSided=True)
        description = self.describe()
        logger.info("GL_RENDERER %s, GL_VERSION %s", description["GL_RENDERER"], description["GL_VERSION"])

    def render(self, scene: Scene) -> Layers:
        check_scene(scene, self.size_px)
        self._context.make_current()
        flags = self._pyrender.RenderFlags.FLAT | self._pyrender.RenderFlags.OFFSCREEN
        colour, depth = self._renderer.render(self._gl_scene(scene), flags)
        # 1 / depth is linear in the depth buffer; GL's first row is the lowest.
        return resolve(colour[::-1], depth[::-1], scale=1 / FAR - 1 / NEAR, shift=1 / NEAR, empty=1.0, size_px=self.size_px)

    def describe(self) -> dict[str, str]:
        from OpenGL import GL

        self._context.make_current()
        return {
            "renderer": self.name,
            "pyrender": importlib.metadata.version("pyrender"),
            "PyOpenGL": importlib.metadata.version("PyOpenGL"),
            "GL_RENDERER": GL.glGetString(GL.GL_RENDERER).decode(),
            "GL_VERSION": GL.glGetString(GL.GL_VERSION).decode(),
            "supersampling": str(SUPERSAMPLING),
        }

    def _gl_scene(self, scene: Scene):
        """Triangles seen from behind have dark vertices of their own, so that culling can stay off. Labels travel as opacity, which is not blended."""
        pyrender, camera = self._pyrender, scene.camera
        focal_x, focal_y, centre_x, centre_y = sample_intrinsics(camera)
        gl_scene = pyrender.Scene(bg_color=[0.0, 0.0, 0.0, 0.0])
        gl_camera = pyrender.IntrinsicsCamera(focal_x, focal_y, centre_x, centre_y, znear=NEAR, zfar=FAR)
        gl_scene.add(gl_camera, pose=np.linalg.inv(GL_FROM_OPENCV @ camera.world_to_camera))
        if not len(scene.faces):
            return gl_scene
        faces, vertices = np.ascontiguousarray(scene.faces, np.int32), np.ascontiguousarray(scene.vertices, np.float64)
        points = projected(vertices, camera.world_to_camera, focal_x, focal_y, centre_x, centre_y, NEAR)
        source, side, label, triangles = sides_and_labels(points, faces, face_labels(scene), closed_faces(scene))
        if not len(triangles):
            return gl_scene
        colours = np.empty((len(source), 4), np.float32)
        colours[:, :3] = lit_colours(scene)[source] * np.array([1.0, INSIDE_SHARE], np.float32)[side, None]
        colours[:, 3] = np.float32(label) / 255
        primitive = pyrender.Primitive(positions=vertices[source].astype(np.float32), indices=triangles, color_0=colours, mode=pyrender.GLTF.TRIANGLES,
                                       material=self._material)
        gl_scene.add(pyrender.Mesh(primitives=[primitive]))
        return gl_scene
