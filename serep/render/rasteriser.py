"""Compiled pixel work: triangles into a z-buffer, the z-buffer into colours, samples into a picture."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from serep.render.compiled import compiled

SUPERSAMPLING = 2
"""Every backend draws at this multiple of the picture's size and averages down. In this file, for numba compiles it in."""


@compiled
@no_type_check
def projected(vertices, motion, focal_x, focal_y, centre_x, centre_y, near):
    """Column, row and 1 / depth of every vertex; the last is 0 where the vertex is nearer than `near`, in mm."""
    count = vertices.shape[0]
    points = np.empty((count, 3))
    for v in range(count):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        depth = motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] * z + motion[2, 3]
        reciprocal = 1.0 / depth if depth >= near else 0.0
        points[v, 0] = focal_x * (motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] * z + motion[0, 3]) * reciprocal + centre_x
        points[v, 1] = focal_y * (motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] * z + motion[1, 3]) * reciprocal + centre_y
        points[v, 2] = reciprocal
    return points


@compiled
@no_type_check
def cover(points, faces, closed, inverse_depth, owners):
    """Draws triangles of `projected` points (third value: linear on the picture, larger is nearer, 0 leaves the triangle out) into both buffers.

    Triangles that are `closed` are left out where they turn counter-clockwise on the picture (its rows run downwards), that is seen from behind.

    A sample lies at a pixel's centre. inverse_depth must be 0 where empty; owners receives the triangle that a sample sees.
    """
    height, width = inverse_depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if (area > 0.0 and closed[f]) or az == 0.0 or bz == 0.0 or cz == 0.0 or not abs(area) > 0.0:  # nor when it is not a number
            continue
        left, right = int(np.ceil(max(min(ax, bx, cx), 0.0) - 0.5)), int(np.floor(min(max(ax, bx, cx), width) - 0.5))
        top, bottom = int(np.ceil(max(min(ay, by, cy), 0.0) - 0.5)), int(np.floor(min(max(ay, by, cy), height) - 0.5))
        if left > right or top > bottom:
            continue
        # Barycentric weights as linear functions of the position relative to c; both signs of the area come out right.
        scale = 1.0 / area
        ua, va = (by - cy) * scale, (cx - bx) * scale
        ub, vb = (cy - ay) * scale, (ax - cx) * scale
        uc, vc = -ua - ub, -va - vb
        uz, vz = ua * az + ub * bz + uc * cz, va * az + vb * bz + vc * cz
        for row in range(top, bottom + 1):
            dy = row + 0.5 - cy
            wa, wb, wc, wz = va * dy, vb * dy, 1.0 + vc * dy, cz + vz * dy
            depth_row, owner_row = inverse_depth[row], owners[row]
            for step in range(right + 1 - left):
                dx = left + step + 0.5 - cx
                column = np.uint32(left + step)  # unsigned: no test for a negative index
                nearness = np.float32(wz + uz * dx)
                if min(wa + ua * dx, wb + ub * dx, wc + uc * dx) >= 0.0 and nearness > depth_row[column]:
                    depth_row[column] = nearness
                    owner_row[column] = f


@compiled
@no_type_check
def paint(points, faces, colours, labels, inside_share, inverse_depth, owners, samples):
    """Colours of the covered samples, perspective-correct from the vertices' colours (0..1), and their triangles' labels.

    Triangles seen from behind show `inside_share` of their colours.
    """
    height, width = inverse_depth.shape
    for row in range(height):
        depth_row, owner_row, sample_row = inverse_depth[row], owners[row], samples[row]
        previous, label = -1, np.uint8(0)
        cx, cy, ua, va, ub, vb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        ra, ga, la, rb, gb, lb, rc, gc, lc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0  # red, green, blue of a, b (less c) and c
        for index in range(width):
            column = np.uint32(index)
            nearness = depth_row[column]
            if nearness == 0.0:
                continue
            if owner_row[column] != previous:
                previous = owner_row[column]
                label = labels[previous]
                a, b, c = faces[previous, 0], faces[previous, 1], faces[previous, 2]
                ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
                cx, cy = points[c, 0], points[c, 1]
                area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
                front = area < 0.0  # y points down, so counter-clockwise turns clockwise
                level = 255.0 if front else 255.0 * inside_share
                scale_a, scale_b = level * points[a, 2] / area, level * points[b, 2] / area
                ua, va = (by - cy) * scale_a, (cx - bx) * scale_a
                ub, vb = (cy - ay) * scale_b, (ax - cx) * scale_b
                rc, gc, lc = level * colours[c, 0], level * colours[c, 1], level * colours[c, 2]
                ra, ga, la = colours[a, 0] - colours[c, 0], colours[a, 1] - colours[c, 1], colours[a, 2] - colours[c, 2]
                rb, gb, lb = colours[b, 0] - colours[c, 0], colours[b, 1] - colours[c, 1], colours[b, 2] - colours[c, 2]
            sample_row[column, 3] = label
            dx, dy, depth = index + 0.5 - cx, row + 0.5 - cy, 1.0 / nearness
            wa, wb = (ua * dx + va * dy) * depth, (ub * dx + vb * dy) * depth
            sample_row[column, 0] = np.uint8(np.int32(wa * ra + wb * rb + rc + 0.5))
            sample_row[column, 1] = np.uint8(np.int32(wa * ga + wb * gb + gc + 0.5))
            sample_row[column, 2] = np.uint8(np.int32(wa * la + wb * lb + lc + 0.5))


@compiled
@no_type_check
def sides_and_labels(points, faces, labels, closed):
    """Vertices for a renderer that knows neither sides nor labels: source, side (1 from behind) and label of each, and the triangles in their numbers.

    A vertex between two labels or sides comes once for each. Closed triangles seen from behind are left out.
    """
    count = points.shape[0]
    limit = count + 3 * faces.shape[0]
    source, side, label = np.empty(limit, np.int32), np.empty(limit, np.uint8), np.empty(limit, np.uint8)
    number = np.full(count, -1, np.int32)
    triangles = np.empty(faces.shape, np.int32)
    used, kept = 0, 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        area = (points[b, 0] - points[a, 0]) * (points[c, 1] - points[a, 1]) - (points[c, 0] - points[a, 0]) * (points[b, 1] - points[a, 1])
        behind = np.uint8(1 if area > 0.0 else 0)
        if behind == 1 and closed[f]:
            continue
        for k in range(3):
            v = faces[f, k]
            n = number[v]
            if n < 0 or side[n] != behind or label[n] != labels[f]:
                source[used], side[used], label[used] = v, behind, labels[f]
                number[v] = used
                n = used
                used += 1
            triangles[kept, k] = n
        kept += 1
    return source[:used], side[:used], label[:used], triangles[:kept]


@compiled
@no_type_check
def average_down(samples, buffer, scale, shift, empty, rgb, mask, depth, labels):
    """Mean colour of the covered samples of each pixel, depth and label of the nearest.

    1 / depth = shift + scale * buffer, and buffer == empty marks an uncovered sample.
    """
    height, width = mask.shape
    for row in range(height):
        for column in range(width):
            red, green, blue, covered, nearest, label = 0, 0, 0, 0, 0.0, np.uint8(0)
            for i in range(row * SUPERSAMPLING, (row + 1) * SUPERSAMPLING):
                for j in range(column * SUPERSAMPLING, (column + 1) * SUPERSAMPLING):
                    if buffer[i, j] != empty:
                        covered += 1
                        red += samples[i, j, 0]
                        green += samples[i, j, 1]
                        blue += samples[i, j, 2]
                        nearness = shift + scale * buffer[i, j]
                        if nearness > nearest:
                            nearest, label = nearness, samples[i, j, 3]
            if 2 * covered >= SUPERSAMPLING * SUPERSAMPLING:
                share = 1.0 / covered
                rgb[row, column, 0] = np.uint8(np.int32(red * share + 0.5))
                rgb[row, column, 1] = np.uint8(np.int32(green * share + 0.5))
                rgb[row, column, 2] = np.uint8(np.int32(blue * share + 0.5))
                mask[row, column] = 255
                depth[row, column] = 1.0 / nearest
                labels[row, column] = label
