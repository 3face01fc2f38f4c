"""The shapes of the demo model's training problems, a file a theme."""

from __future__ import annotations

from ..shape import Shape
from . import changes, groups, measures, stories

SHAPES: tuple[Shape, ...] = (*changes.SHAPES, *groups.SHAPES, *stories.SHAPES, *measures.SHAPES)
