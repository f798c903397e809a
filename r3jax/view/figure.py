"""One episode as a picture: the image with its boxes, the crops and the text between, by Pillow."""

import dataclasses
import re

from PIL import Image, ImageDraw, ImageFont

from r3jax.records import Episode, Look, LookOutcome, Question
from r3jax.reward import text as texts
from r3jax.view import pictures, pieces

WIDTH = 1200
_SCALE = 2  # everything is drawn twice as large and reduced, for smooth lines
_MARGIN, _GAP, _LEFT = 36, 32, 520
_INK, _MUTED, _PAPER, _SOFT, _LINE = "#1b1d21", "#696e76", "#fcfcfa", "#f3f3ef", "#e3e3de"
_CROP_WIDTH, _CROP_HEIGHT = 300, 190


def trace_png(question: Question, episode: Episode) -> Image.Image:
    """A figure 1200 pixels wide: the image with numbered boxes left, the episode right."""
    right = WIDTH - _LEFT - _GAP - 2 * _MARGIN
    title = _Text(question.text, 26, WIDTH - 2 * _MARGIN)
    image = pictures.fit(question.images[0], 4096).convert("RGB")
    image_height = round(_LEFT * image.height / image.width)
    blocks = _blocks(episode, right)
    top = _MARGIN + title.height + 22
    text_height = sum(block.height + _SPACE for block in blocks)
    height = top + max(image_height, text_height) + _MARGIN
    picture = Image.new("RGB", (WIDTH * _SCALE, height * _SCALE), _PAPER)
    pen = _Pen(picture)
    title.draw(pen, _MARGIN, _MARGIN)
    _draw_image(pen, image, episode, _MARGIN, top, image_height)
    y = top
    for block in blocks:
        block.draw(pen, _MARGIN + _LEFT + _GAP, y)
        y += block.height + _SPACE
    return picture.resize((WIDTH, height), Image.Resampling.LANCZOS)


_SPACE = 14  # between blocks


class _Pen:
    """Draws in figure pixels on a picture `_SCALE` times as large."""

    def __init__(self, picture: Image.Image):
        self.picture, self.draw = picture, ImageDraw.Draw(picture)

    def text(self, x: float, y: float, text: str, size: int, colour: str, anchor="la") -> None:
        position = (x * _SCALE, y * _SCALE)
        self.draw.text(position, text, colour, _font(size * _SCALE), anchor=anchor)

    def frame(self, box, colour: str, width: float = 3, fill: str | None = None, radius=6) -> None:
        corners = [side * _SCALE for side in box]
        line = round(width * _SCALE)
        self.draw.rounded_rectangle(corners, radius * _SCALE, fill, colour, line)

    def paste(self, image: Image.Image, x: float, y: float, width: float, height: float) -> None:
        size = (round(width * _SCALE), round(height * _SCALE))
        resized = image.resize(size, Image.Resampling.LANCZOS)
        self.picture.paste(resized, (round(x * _SCALE), round(y * _SCALE)))

    def tag(self, x: float, y: float, number: int, colour: str) -> None:
        self.frame((x, y, x + 26, y + 26), colour, 1, colour)
        self.text(x + 13, y + 13, str(number), 16, "white", "mm")


class _Text:
    """A paragraph wrapped to a width."""

    def __init__(self, text: str, size: int, width: float, colour: str = _INK):
        self.size, self.colour = size, colour
        self.lines = _wrap(text, size, width)
        self.line_height = round(size * 1.45)
        self.height = self.line_height * len(self.lines)

    def draw(self, pen: _Pen, x: float, y: float) -> None:
        for index, line in enumerate(self.lines):
            pen.text(x, y + index * self.line_height, line, self.size, self.colour)


@dataclasses.dataclass(frozen=True)
class _Crop:
    """A look: its crop on a card with its number, zoom and size, or why there is none."""

    look: Look
    index: int
    width: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height at which the crop is drawn."""
        height, width = self.look.crop.shape[:2]
        scale = min(_CROP_WIDTH / width, _CROP_HEIGHT / height)
        return width * scale, height * scale

    @property
    def height(self) -> float:
        return round(self.size[1] + 24) if self.look.crop is not None else 44

    def draw(self, pen: _Pen, x: float, y: float) -> None:
        shown = self.look.outcome is LookOutcome.OK
        colour = pictures.colour_of(self.index) if shown else pictures.FAILED_COLOUR
        pen.frame((x, y, x + self.width, y + self.height), _LINE, 1, _SOFT)
        pen.frame((x, y, x + 5, y + self.height), colour, 1, colour, 2)
        if not shown:
            pen.tag(x + 16, y + 9, self.index + 1, colour)
            reason = self.look.outcome.value.replace("_", " ")
            pen.text(x + 54, y + 22, f"no view: {reason}", 16, _MUTED, "lm")
            return
        width, height = self.size
        pen.paste(Image.fromarray(self.look.crop), x + 17, y + 12, width, height)
        pen.tag(x + width + 31, y + 12, self.index + 1, colour)
        facts = ["look again"]
        if self.look.zoom is not None:
            facts.append(f"enlarged {self.look.zoom:.2g} times")
        for row, fact in enumerate(facts):
            pen.text(x + width + 31, y + 50 + 23 * row, fact, 16, _MUTED)


def _blocks(episode: Episode, width: float) -> list[_Text | _Crop]:
    """The episode from top to bottom; boxes are muted, tags are left out."""
    blocks: list[_Text | _Crop] = []
    for piece in pieces.cut(episode):
        if isinstance(piece, pieces.LookHere):
            blocks.append(_Crop(episode.looks[piece.index], piece.index, width))
            continue
        end = 0
        for match in texts.BOX.finditer(piece.text):
            blocks += _paragraph(piece.text[end : match.start()], width, _INK)
            blocks += _paragraph(match[0], width, _MUTED)
            end = match.end()
        blocks += _paragraph(piece.text[end:], width, _INK)
    return blocks


def _paragraph(text: str, width: float, colour: str) -> list[_Text]:
    """The text and its answer as blocks, without tags and messages; none if nothing is left."""
    text = re.sub("</?think>|</answer>", "", texts.MESSAGE.sub("", text))
    before, tag, answer = text.partition("<answer>")
    parts = [before, f"Answer: {answer}" if tag else ""]
    return [_Text(" ".join(part.split()), 19, width, colour) for part in parts if part.strip()]


def _draw_image(pen: _Pen, image: Image.Image, episode: Episode, x, y, height) -> None:
    """The image at column width with the numbered boxes of its looks."""
    pen.paste(image, x, y, _LEFT, height)
    pen.frame((x - 1, y - 1, x + _LEFT + 1, y + height + 1), _LINE, 1, None, 2)
    scale = _LEFT / image.width
    for index, look in enumerate(episode.looks):
        if look.outcome is not LookOutcome.OK:
            continue
        x1, y1, x2, y2 = (side * scale for side in look.box_original)
        colour = pictures.colour_of(index)
        pen.frame((x + x1, y + y1, x + x2, y + y2), colour, 3.5, None, 4)
        pen.tag(x + max(x1 - 13, 0), y + max(y1 - 13, 0), index + 1, colour)


def _wrap(text: str, size: int, width: float) -> list[str]:
    """Lines no wider than `width`; a word longer than a line is broken."""
    font = _font(size)
    lines = [""]
    for word in text.split():
        while font.getlength(word) > width and len(word) > 1:
            keep = max(1, int(len(word) * width / font.getlength(word)) - 1)
            lines.append(word[:keep])
            word = word[keep:]
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return [line for line in lines if line] or [""]


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, so that the figure is the same on every machine."""
    return ImageFont.load_default(size)
