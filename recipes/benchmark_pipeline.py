"""Time the stages of pre-training steps, and the views of an image on one core next to torchvision's:

    python recipes/benchmark_pipeline.py [flags of gravis pretrain]

The stages are wall time, by torch.profiler; the views are processor time of one thread.
"""

import io
import random
import time
from functools import wraps

import numpy as np
from PIL import Image, ImageFilter
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.benchmark import Timer
from torchvision import transforms

from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.datasets.decode import decode_image
from gravis_triton.data.datasets.references import SyntheticImage
from gravis_triton.data.loading.loader import collate_images
from gravis_triton.methods import pretrain_settings
from gravis_triton.settings.augmentation import ViewSettings
from gravis_triton.settings.flags import read_flags
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.settings.resolve import resolve
from gravis_triton.training.engine import Training, train_epoch
from gravis_triton.training.interrupt import StopRequest
from gravis_triton.views import ViewMaker
from gravis_triton.workflows.job import setup_job
from gravis_triton.workflows.pretrain import build_method, load_data, start

WARMUP, STEPS = 3, 10
VIEWS, SIZE, SHORT_SIDE = 20, 224, 336
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def profile_steps(settings: PretrainSettings) -> None:
    """Print the time of each stage of a training step, and its share of the step."""
    job = setup_job(settings, name="benchmark")
    settings, method = build_method(settings, job)
    training = start(settings, job, method, load_data(settings, job))
    label(method, "make_views", "views")
    label(method.view_maker.crop, "views_of", "  crop, rotation, flip, resize")
    for step in (*method.view_maker.photometry, method.view_maker.cutout):
        label(step, "apply_", f"  {type(step).__name__}")
    label(training.model, "forward", "forward: encoder, projection, loss")
    label(method.encoder, "forward", "  encoder")
    label(job.accelerator, "backward", "backward")
    train(training, WARMUP)
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if job.accelerator.device.type == "cuda" else []
    with profile(activities=activities) as profiler:
        before = time.perf_counter()
        train(training, STEPS)
        total = 1e3 * (time.perf_counter() - before) / STEPS
    spent = {event.key: max(event.cpu_time_total, event.device_time_total) for event in profiler.key_averages()}
    print(f"\n{'ms per step':40}{total:9.1f}")
    stages = [name for name in spent if name in LABELS or name.startswith(("enumerate(Data", "Optimizer.step"))]
    for name in sorted(stages, key=lambda name: LABELS.get(name, -1 if "Data" in name else len(LABELS))):
        milliseconds = spent[name] / STEPS / 1e3
        print(f"{name.split('#')[0]:40}{milliseconds:9.1f}{milliseconds / total:8.1%}")


LABELS: dict[str, int] = {}
"""Stage -> its place in the table."""


def label(owner: object, name: str, stage: str) -> None:
    """Record the calls of a method of an object as a stage."""
    function = getattr(owner, name)
    LABELS[stage] = len(LABELS)

    @wraps(function)
    def labeled(*args: object, **kwargs: object) -> object:
        with record_function(stage):
            return function(*args, **kwargs)

    object.__setattr__(owner, name, labeled)


def train(training: Training, steps: int) -> None:
    training.last_step = training.state.step + steps
    while training.state.step < training.last_step:
        train_epoch(training, StopRequest(), lambda metrics: None)


def time_views() -> None:
    """Print the time of 20 views of 224 px with the published augmentation from a 1022 x 767 JPEG.

    Of this package in the first epoch, which decodes, and from the cache; and of torchvision's transforms on Pillow.
    """
    jpeg = camera_jpeg()
    maker = ViewMaker(ViewSettings(views=VIEWS), size=SIZE, mean=MEAN, std=STD)
    cached, chain = decode(jpeg), published_transforms()
    ways = {
        "this package, decoding included": lambda: maker(*collate_images([decode(jpeg)])),
        "this package, from the cache": lambda: maker(*collate_images([cached])),
        "torchvision on Pillow images": lambda: [
            chain(image) for image in [Image.open(io.BytesIO(jpeg)).convert("RGB")] for _ in range(VIEWS)
        ],
    }
    print(f"\n{'20 views of 224 px from one JPEG, one core':44}{'ms':>7}{'IQR':>7}{'views/s':>9}")
    for name, way in ways.items():
        timer = Timer("way()", globals={"way": way}, num_threads=1, timer=time.thread_time)
        measured = timer.blocked_autorange(min_run_time=5)
        print(f"{name:44}{1e3 * measured.median:7.1f}{1e3 * measured.iqr:7.1f}{VIEWS / measured.median:9.0f}")


def camera_jpeg() -> bytes:
    """A synthetic image of 1022 x 767 pixels with camera noise, as a JPEG of quality 90."""
    image = SyntheticImage(0, 0).read(767).resize((1022, 767), Image.Resampling.BICUBIC)
    noisy = np.asarray(image) + np.random.default_rng(0).normal(0, 3, (767, 1022, 3))
    stream = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).round().astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def decode(jpeg: bytes) -> np.ndarray:
    """A JPEG as stored in the cache."""
    return resized_pixels(decode_image(io.BytesIO(jpeg), SHORT_SIDE), SHORT_SIDE)


def published_transforms() -> transforms.Compose:
    """One view by torchvision's transforms on a Pillow image, with the published strengths."""

    def blur(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))

    return transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE, scale=(0.2, 1.0)),
            transforms.RandomRotation(10),
            transforms.ColorJitter(0.4, 0.4, 0.4, 0.1),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.Lambda(blur)], p=0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
            cut_out,
        ]
    )


def cut_out(view: Tensor, holes: int = 3, side: int = 32) -> Tensor:
    """Set squares around random pixels to 0, in place; squares are clipped at the border."""
    for _ in range(holes):
        y, x = (random.randrange(size) for size in view.shape[1:])
        view[:, max(0, y - side // 2) : y + side // 2, max(0, x - side // 2) : x + side // 2] = 0
    return view


if __name__ == "__main__":
    profile_steps(resolve(pretrain_settings, read_flags(pretrain_settings)))
    time_views()
