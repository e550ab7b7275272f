"""README's picture of the pipeline, drawn around a made-up cat; script/make_images.py writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image, ImageDraw, ImageFilter

from smaf.core.files import atomic_path
from smaf.report.pictures import overlay_cam, overlay_mask, target_picture

WIDTH, HEIGHT, DPI = 1800, 1340, 100  # coordinates below are pixels, y downwards
INK, SOFT, PAPER = "#1c2430", "#566273", "#ffffff"
BLUE, GREEN, RUST, PURPLE, SLATE = "#3566a8", "#1f8a70", "#c2571a", "#8a3f8f", "#46566b"
SCENE = (132, 100)
CAT, CLASSES = 2, 6  # the cat's mask value among VOC's animals (bird, cat, cow, dog, horse, sheep)


def _silhouette(grown: float = 0.0) -> np.ndarray:
    """(H, W) bool: the cat, its outline moved outwards by `grown` pixels."""
    image = Image.new("L", SCENE)
    draw = ImageDraw.Draw(image)
    draw.ellipse((38 - grown, 48 - grown, 98 + grown, 112 + grown), fill=255)
    draw.arc(
        (84 - grown, 54 - grown, 124 + grown, 98 + grown), 270, 90, fill=255, width=round(8 + grown)
    )
    draw.ellipse((32 - grown, 18 - grown, 76 + grown, 60 + grown), fill=255)
    for left in (32, 58):
        draw.polygon([(left - grown, 34), (left + 9, 5 - grown), (left + 18 + grown, 30)], fill=255)
    return np.asarray(image) > 0


def _scene() -> dict[str, np.ndarray]:
    """The pictures that the drawing shows, by name: (100, 132, 3) uint8."""
    cat = _silhouette()
    dusk = np.linspace((58, 84, 138), (232, 158, 110), SCENE[1])[:, None].repeat(SCENE[0], axis=1)
    dusk[78:] = (84, 104, 74)
    dusk[cat] = (92, 74, 62)
    photo = Image.fromarray(dusk.astype(np.uint8))
    for box, colour in (
        ((100, 10, 120, 30), "#faf0cd"),
        ((42, 33, 50, 41), "#c4e05c"),
        ((58, 33, 66, 41), "#c4e05c"),
    ):
        ImageDraw.Draw(photo).ellipse(box, fill=colour)
    y, x = np.mgrid[: SCENE[1], : SCENE[0]]
    cam = np.exp(-((x - 54) ** 2 + (y - 38) ** 2) / 500.0)  # a classifier looks at the head
    saliency = np.asarray(Image.fromarray(np.uint8(255) * cat).filter(ImageFilter.GaussianBlur(2)))
    fused = np.asarray(Image.fromarray(saliency).filter(ImageFilter.GaussianBlur(7))) / 255.0
    target = np.zeros((CLASSES + 1, *cat.shape))
    target[CAT - 1], target[CLASSES] = fused / fused.max(), 0.2
    rough, clean = ((shape * CAT).astype(np.uint8) for shape in (_silhouette(4.0), cat))
    return {
        "photo": np.asarray(photo),
        "flip": np.asarray(photo)[:, ::-1],
        "saliency": saliency[..., None].repeat(3, axis=2),
        "cam": overlay_cam(photo, {0: cam}),
        "fused": overlay_cam(photo, {0: fused / fused.max()}),
        "target": target_picture(target, SCENE),
        "mask": overlay_mask(photo, rough),
        "refined": overlay_mask(photo, clean),
    }


class _Drawing:
    """Cards, boxes, pictures and arrows on one sheet; `scene` holds the pictures by name."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.scene = _scene()

    def text(
        self, x: float, y: float, text: str, *, size: int = 22, colour: str = INK, **options: str
    ) -> None:
        """Write `text` centred at (x, y), `size` pixels high."""
        self.axes.text(
            x,
            y,
            text,
            fontsize=size * 72 / DPI,
            color=colour,
            linespacing=1.35,
            **{"ha": "center", "va": "center", **options},  # type: ignore[arg-type]
        )

    def box(
        self,
        place: tuple[float, float, float, float],
        title: str = "",
        *lines: str,
        edge: str = SOFT,
        fill: str = PAPER,
        dashed: bool = False,
        radius: int = 10,
    ) -> None:
        """A rounded box at `place` (x, y, w, h) with a bold title and plain lines, centred."""
        x, y, w, h = place
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                w,
                h,
                boxstyle=f"round,pad=0,rounding_size={radius}",
                fc=fill,
                ec=edge,
                lw=1.8,
                ls="--" if dashed else "-",
            )
        )
        top = y + h / 2 - 14 * len(lines)
        self.text(x + w / 2, top, title, weight="bold")
        for number, line in enumerate(lines, start=1):
            self.text(x + w / 2, top + 28 * number, line, size=20, colour=SOFT)

    def picture(
        self, name: str, x: float, y: float, w: float, *captions: str, dashed: bool = False
    ) -> None:
        """A picture of the scene `w` pixels wide, its captions below."""
        h = w * SCENE[1] / SCENE[0]
        self.axes.imshow(
            self.scene[name], extent=(x, x + w, y + h, y), interpolation="lanczos", zorder=2
        )
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                w,
                h,
                boxstyle="square,pad=0",
                fc="none",
                ec=SOFT if dashed else INK,
                lw=2.2 if dashed else 1,
                ls="--" if dashed else "-",
                zorder=3,
            )
        )
        for number, caption in enumerate(captions):
            self.text(x + w / 2, y + h + 20 + 27 * number, caption, size=20, colour=SOFT)

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through `points` with a head at the last one; dashed for what is optional."""
        colour = SOFT if dashed else INK
        (x0, y0), (x1, y1) = points[-2:]
        neck = (x1 - 12 * np.sign(x1 - x0), y1 - 12 * np.sign(y1 - y0))
        self.axes.plot(
            *zip(*points[:-1], neck, strict=True),
            c=colour,
            lw=2.4,
            ls=":" if dashed else "-",
            zorder=4,
        )
        head = {"color": colour, "linewidth": 0, "width": 1, "headwidth": 11, "headlength": 11}
        self.axes.annotate("", (x1, y1), neck, zorder=4, arrowprops=head)

    def chain(self, y: float, *ends: float) -> None:
        """Arrows to the right at height y: from the first of `ends` to the second, the third to the
        fourth …"""
        for start, end in zip(ends[::2], ends[1::2], strict=True):
            self.arrow((start, y), (end, y))

    def card(
        self, x: float, y: float, w: float, h: float, colour: str, over: str, title: str, *foot: str
    ) -> None:
        """The card of a stage: a coloured head, and at the foot the script that runs it and where
        its results go."""
        self.box((x, y, w, h), edge=colour, fill="#f6f8fa", radius=16)
        self.box((x, y, w, 74), edge=colour, fill=colour, radius=16)
        self.text(x + 24, y + 22, over, size=19, colour=PAPER, ha="left")
        self.text(x + 24, y + 51, title, size=27, colour=PAPER, ha="left", weight="bold")
        for row, label, value in zip(
            (y + h - 58, y + h - 26), ("script", "output"), foot, strict=False
        ):
            self.text(x + 24, row, label, size=19, colour=SOFT, ha="left")
            self.text(
                x + 104,
                row,
                value,
                size=21,
                colour=colour,
                ha="left",
                weight="bold",
                family="DejaVu Sans Mono",
            )


def _inputs_and_classifier(d: _Drawing) -> None:
    d.card(30, 30, 290, 600, SOFT, "data set", "inputs")
    d.picture("photo", 105, 136, 140, "photographs")
    d.box((60, 322, 230, 80), "cat", "image-level labels", fill="#ffefc2")
    d.picture("saliency", 105, 444, 140, "saliency maps")
    d.card(390, 30, 660, 600, BLUE, "stage 0", "EPS classifier", "train_eps", "logdir/eps_cls_mode")
    d.box((430, 144, 170, 90), "backbone", "ResNet-38")
    for back in (3, 2, 1):
        d.box(
            (670 + 12 * back, 152 - 10 * back, 140, 106),
            fill=INK if back == 3 else "#dce6f3",
            radius=1,
        )
    d.picture("cam", 670, 152, 140, "CAM")
    d.text(938, 190, "C + 1 channels,\nthe last one\nbackground", size=20, colour=SOFT)
    d.box((430, 322, 530, 80), "classification loss", "CAM averaged over the image ↔ labels")
    d.box((430, 457, 530, 80), "saliency loss", "foreground and background CAM ↔ saliency")
    d.chain(189, 245, 430, 600, 670)
    for y, start in ((362, 290), (497, 245)):
        d.chain(y, start, 430)
        d.arrow((810, 244), (1010, 244), (1010, y), (960, y))


def _fusion(d: _Drawing) -> None:
    d.card(
        1110, 30, 660, 600, GREEN, "stage 1", "multi-scale fusion", "gen_fusion", "logdir/cam_o_vec"
    )
    left = 1156.0
    for scale in (0.5, 1.0, 1.5, 2.0):
        w = 30 + 52 * scale
        top = 256 - w * SCENE[1] / SCENE[0]
        d.picture("flip", left + 16, top - 16, w)
        d.picture("photo", left, top, w, f"× {scale}")
        left += w + 50
    d.text(
        1440,
        320,
        "each photograph at four scales, each with its flip: 8 views",
        size=20,
        colour=SOFT,
    )
    for x, w, title in ((1140, 120, "softmax"), (1300, 100, "sum"), (1440, 150, "normalise")):
        d.box((x, 380, w, 70), title)
    d.picture("fused", 1630, 370, 120, "fused map")
    d.chain(415, 1260, 1300, 1400, 1440, 1590, 1630)
    d.arrow((1200, 342), (1200, 380))
    d.text(1370, 506, "labelled classes, each ÷ its maximum", size=20, colour=SOFT)


def _self_training(d: _Drawing) -> None:
    d.card(
        30,
        700,
        940,
        610,
        RUST,
        "stage 2",
        "denoise, reactivate, self-train",
        "train_fusion",
        "logdir/proda_model",
    )
    d.picture("fused", 70, 802, 140, "fused map")
    d.box((265, 800, 200, 110), "denoise", "× image label,", "background 0.2")
    d.box((520, 800, 200, 110), "reactivate", "÷ maximum", "at each pixel")
    d.picture("target", 775, 802, 140, "target")
    d.box(
        (265, 950, 455, 80),
        "teacher (EMA), prototypes",
        "optional: reweight the fused maps",
        dashed=True,
    )
    d.picture("photo", 70, 1072, 140, "photograph")
    d.box((265, 1070, 200, 110), "student", "starts from", "stage 0's weights")
    d.picture("cam", 520, 1072, 140, "softmax of CAM")
    d.box((755, 1070, 180, 110), "loss", "100 × mean", "squared error")
    d.chain(855, 210, 265, 465, 520, 720, 775)
    d.chain(1125, 210, 265, 465, 520, 660, 755)
    d.arrow((845, 950), (845, 1070))
    d.arrow((365, 1070), (365, 1030), dashed=True)
    d.arrow((365, 950), (365, 910), dashed=True)


def _masks_and_segmentation(d: _Drawing) -> None:
    d.card(1030, 700, 380, 610, PURPLE, "stage 3", "pseudo masks", "gen_pm", "pseudo_mask")
    d.box((1060, 810, 320, 80), "multi-scale fusion", "with the student's weights")
    d.box((1060, 930, 320, 80), "argmax", "class maps, background 0.2")
    d.picture("mask", 1060, 1060, 140, "pseudo mask")
    d.picture("refined", 1240, 1060, 140, "dense CRF", "(optional)", dashed=True)
    d.arrow((1130, 890), (1130, 930))
    d.arrow((1130, 1010), (1130, 1060))
    d.arrow((1200, 1113), (1240, 1113), dashed=True)
    d.card(1470, 700, 300, 610, SLATE, "stage 4", "DeepLab-V2", "train_seg", "segmenter")
    d.box((1490, 810, 260, 110), "segmentation", "ResNet-101, trained", "on the pseudo masks")
    d.picture("refined", 1550, 970, 140, "prediction")
    d.text(1620, 1160, "mIoU against\nthe true masks", weight="bold")
    d.arrow((1620, 920), (1620, 970))


def draw_framework(path: Path) -> None:
    """Write the picture of the pipeline, 1800 pixels wide, to the PNG `path`."""
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
    drawing = _Drawing(figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0)))
    drawing.axes.set_axis_off()
    for draw in (_inputs_and_classifier, _fusion, _self_training, _masks_and_segmentation):
        draw(drawing)
    drawing.chain(189, 1050, 1110)
    drawing.arrow((1690, 630), (1690, 664), (1180, 664))
    drawing.box((620, 640, 560, 48), dashed=True)
    drawing.text(900, 664, "refine_fusion: edges and saliency (optional)", size=20, colour=SOFT)
    drawing.arrow((620, 664), (140, 664), (140, 700))
    drawing.chain(855, 970, 1030, 1410, 1470)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
