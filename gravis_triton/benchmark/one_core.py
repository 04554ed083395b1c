"""Views made on one core from a JPEG: by this package and by the published transforms, in turn."""

import io
import random
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms

from gravis_triton.augment import ViewMaker
from gravis_triton.benchmark.clock import Clock, Stage
from gravis_triton.benchmark.view_steps import measure_view_steps
from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.datasets.decode import decode_image
from gravis_triton.data.datasets.references import SyntheticImage
from gravis_triton.data.loading.loader import collate_images
from gravis_triton.settings import ViewSettings

_VIEWS, _SIZE, _SHORT_SIDE = 20, 224, 336
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OURS_FIRST, OURS, PUBLISHED = (
    "ours, decoding included",
    "ours, from the cache",
    "torchvision on Pillow",
)


def jpeg_of_a_camera() -> bytes:
    """A synthetic image of 1022 x 767 pixels with camera noise, as a JPEG of quality 90."""
    image = SyntheticImage(0, 0).read(767).resize((1022, 767), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 3, (767, 1022, 3))
    noisy = (np.asarray(image) + noise).clip(0, 255).round().astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def decoded(jpeg: bytes, short_side: int) -> np.ndarray:
    """A JPEG as stored in the cache."""
    return resized_pixels(decode_image(io.BytesIO(jpeg), short_side), short_side)


def published_chain(size: int) -> Callable[[Image.Image], Tensor]:
    """torchvision's transforms on Pillow images for one view, with the published strengths."""

    def blur(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))

    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.2, 1.0)),
            transforms.RandomRotation(10),
            transforms.ColorJitter(0.4, 0.4, 0.4, 0.1),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.Lambda(blur)], p=0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
            lambda view: cut_out(view, holes=3, side=32),
        ]
    )


def cut_out(view: Tensor, *, holes: int, side: int) -> Tensor:
    """Set squares around random pixels to 0, in place; squares are clipped at the border."""
    height, width = view.shape[1:]
    for _ in range(holes):
        y, x = random.randrange(height), random.randrange(width)
        top, left = max(0, y - side // 2), max(0, x - side // 2)
        view[:, top : y + side // 2, left : x + side // 2] = 0
    return view


def compare_on_one_core(rounds: int) -> list[Stage]:
    """Processor time of one thread for 20 views of 224 px with the published augmentation from a 1022 x 767 JPEG.

    Measures, in turn, ours with the decoding and resizing of the first epoch, ours from the cache, and the published
    transforms, which decode the JPEG once for its 20 views in every epoch; then each step of ours.
    """
    jpeg = jpeg_of_a_camera()
    maker = ViewMaker(ViewSettings(views=_VIEWS), size=_SIZE, mean=_MEAN, std=_STD)
    chain = published_chain(_SIZE)

    def ours() -> Tensor:
        return maker(*collate_images([decoded(jpeg, _SHORT_SIDE)]))

    def from_cache(pixels: np.ndarray) -> Tensor:
        return maker(*collate_images([pixels]))

    def published() -> Tensor:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        return torch.stack([chain(image) for _ in range(_VIEWS)])

    kept = decoded(jpeg, _SHORT_SIDE)
    clock = Clock(torch.device("cpu"), time.thread_time)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for warm in (ours, published):
            warm()
        for _ in range(rounds):
            with clock.measure(OURS_FIRST, images=1, views=_VIEWS):
                ours()
            with clock.measure(OURS, images=1, views=_VIEWS):
                from_cache(kept)
            with clock.measure(PUBLISHED, images=1, views=_VIEWS):
                published()
            measure_view_steps(clock, maker, collate_images([kept]))
    finally:
        torch.set_num_threads(threads)
    return list(clock.stages.values())
