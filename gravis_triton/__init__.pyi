"""Signatures for editors and type checkers, written by `python docs/signatures.py`."""

from pathlib import Path
from typing import Literal

from gravis_triton.errors import Interrupted as Interrupted
from gravis_triton.errors import UserError as UserError
from gravis_triton.inference.saved_model import load as load
from gravis_triton.workflows.cache import CacheResult
from gravis_triton.workflows.check import CheckResult
from gravis_triton.workflows.compare import CompareResult
from gravis_triton.workflows.embed import EmbedResult
from gravis_triton.workflows.evaluate import EvaluateResult
from gravis_triton.workflows.export import ExportResult
from gravis_triton.workflows.finetune import FinetuneResult
from gravis_triton.workflows.predict import PredictResult
from gravis_triton.workflows.pretrain import PretrainResult
from gravis_triton.workflows.push import PushResult
from gravis_triton.workflows.runs import ReportResult, RunsResult
from gravis_triton.workflows.shards import ShardsResult

__version__: str

def check(
    *,
    columns: str | None = None,
    images: str | None = None,
    modality: Literal["dermoscopic", "clinical"] | None = None,
    classes: Literal["common"] | None = None,
    data: str | Path,
    num_workers: int | None = None,
    json: bool = False,
    page: str | None = None,
) -> CheckResult:
    """Check a dataset: counts, unreadable images and masks, duplicates and leakage; exits with 1 on a fault.

    Raises UserError for anything the user can fix.

    Args:
        columns: Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold;
            label= reads none, labels=A+B several classes per image. (default: recognized by name)
        images: Directory that holds the images that the table names. (default: the folder of the table)
        modality: Images of one kind only, in a dataset with both (MILK10k, Derm7pt). (default: both)
        classes: The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF,
            VASC. (default: the dataset's own)
        data: Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic.
        num_workers: Threads for decoding. (1 to 256; default: depends on the number of cores)
        json: Print JSON. (default: False)
        page: HTML file to write contact sheets to. (default: none)
    """

def shards(
    *,
    columns: str | None = None,
    images: str | None = None,
    modality: Literal["dermoscopic", "clinical"] | None = None,
    classes: Literal["common"] | None = None,
    data: str | Path,
    output: str | Path,
    image_size: int = 512,
    images_per_shard: int = 1000,
) -> ShardsResult:
    """Resize a dataset and write it as Parquet shards for --streaming.

    Raises UserError for anything the user can fix.

    Args:
        columns: Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold;
            label= reads none, labels=A+B several classes per image. (default: recognized by name)
        images: Directory that holds the images that the table names. (default: the folder of the table)
        modality: Images of one kind only, in a dataset with both (MILK10k, Derm7pt). (default: both)
        classes: The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF,
            VASC. (default: the dataset's own)
        data: Images: a directory, a CSV or Parquet table, hf:OWNER/NAME, or synthetic.
        output: Output directory; must not exist.
        image_size: Short side of the images in pixels; smaller images are not resized. (1 to 8,192;
            default: 512)
        images_per_shard: Number of images per shard. (at least 1; default: 1000)
    """

def list_cache(
    *,
    cache_dir: str | Path | None = None,
    prune: float | None = None,
) -> CacheResult:
    """List the cache of decoded images, or delete what has not been used for some days.

    Raises UserError for anything the user can fix.

    Args:
        cache_dir: Cache directory for decoded images. (default: $GRAVIS_CACHE, else
            ~/.cache/gravis-triton)
        prune: Delete the files without an image of a collection that was opened in the last DAYS days.
            (at least 0; default: delete nothing)
    """

def pretrain(
    *,
    method: str = "gravis",
    columns: str | None = None,
    images: str | None = None,
    modality: Literal["dermoscopic", "clinical"] | None = None,
    classes: Literal["common"] | None = None,
    data: str | Path = "synthetic",
    synthetic_images: int = 1500,
    val_fraction: float = 0.2,
    split_seed: int | None = None,
    cache_dir: str | Path | None = None,
    cache_size: int | None = None,
    num_workers: int | None = None,
    encoder: str | Path = "random",
    model: str | None = None,
    image_size: int | None = None,
    pretrained: bool = False,
    epochs: int | None = None,
    batch_size: int = 24,
    opt: str = "adamw",
    lr: float = 0.001,
    momentum: float = 0.9,
    weight_decay: float = 0.05,
    clip_grad: float | None = None,
    sched: Literal["cosine", "tanh", "poly", "step"] = "cosine",
    warmup_epochs: float | None = None,
    max_steps: int | None = None,
    total_views: int | None = None,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    config: str | Path | None = None,
    seed: int = 0,
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto",
    cpu_threads: int | None = None,
    tracker: str | None = None,
    resume: str | Path | None = None,
    channels_last: bool = True,
    compile: bool = False,
    log_every: int = 10,
    max_bad_steps: int = 0,
    eval_every: int | None = None,
    eval_images: int = 2000,
    evaluate: bool = True,
    checkpoint_every: int = 1,
    augment: str = "color-kept",
    views: int = 4,
    crop_scale: float = 0.2,
    rotation: float = 10.0,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
    hue: float = 0.02,
    grayscale: float = 0.0,
    blur: float = 0.5,
    blur_sigma: float = 2.0,
    flip: float = 0.5,
    cutout_holes: int = 3,
    cutout_side: float = 32.0,
    vertical_flip: float = 0.0,
    stain: float = 0.0,
    hair: float = 0.0,
    ink: float = 0.0,
    ruler: float = 0.0,
    bubbles: float = 0.0,
    defocus: float = 0.0,
    defocus_radius: float = 3.0,
    vignette: float = 0.0,
    illuminant: float = 0.0,
    constancy: float = 0.0,
    streaming: bool = False,
    shuffle_buffer: int = 1000,
    steps_per_epoch: int | None = None,
    projection_hidden: int | None = None,
    projection_dim: int = 128,
    grad_cache_chunk: int | None = None,
    margin: float | None = None,
    attention: Literal["softmax", "uniform"] = "softmax",
    attention_temperature: float = 0.5,
    negatives: Literal["mean", "logsumexp"] | None = None,
    penalty: Literal["hinge", "softplus", "sigmoid"] = "softplus",
    temperature: float = 0.1,
    teacher_momentum: float = ...,
    invariance_weight: float = ...,
    variance_weight: float = ...,
    covariance_weight: float = ...,
    local_views: int = ...,
    local_size: float = ...,
    local_crop_scale: float = ...,
    prototypes: int = ...,
    student_temperature: float = ...,
    teacher_temperature: float = ...,
    center_momentum: float = ...,
) -> PretrainResult:
    """Pre-train an image encoder on unlabeled dermatology images, with GraVIS or another self-supervised method.

    Raises UserError for anything the user can fix.

    Args:
        method: gravis, gravis-rank, nt-xent, triplet, byol, vicreg, dino, or your own as
            package.module:Class. (default: gravis)
        columns: Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold;
            label= reads none, labels=A+B several classes per image. (default: recognized by name)
        images: Directory that holds the images that the table names. (default: the folder of the table)
        modality: Images of one kind only, in a dataset with both (MILK10k, Derm7pt). (default: both)
        classes: The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF,
            VASC. (default: the dataset's own)
        data: Images: directory (a known data set, any folder), CSV or Parquet table, hf:OWNER/NAME or
            synthetic. (default: synthetic)
        synthetic_images: Number of images to draw for --data synthetic. (1 to 1,000,000; default: 1500)
        val_fraction: Fraction of the labeled images to validate on, if the dataset has no validation
            split. (above 0, below 1; default: 0.2)
        split_seed: Draw a new train/validation split with this seed. (at least 0; default: official
            split, else --seed)
        cache_dir: Cache directory for decoded images. (default: $GRAVIS_CACHE, else
            ~/.cache/gravis-triton)
        cache_size: Short side of the cached images in pixels. (1 to 8,192; default: 1.5 times the image
            size)
        num_workers: Worker processes for decoding and loading images; 0 loads in the main process. (0
            to 256; default: one per core, at most 8)
        encoder: Initial weights: random, imagenet, RUN/encoder, hf:OWNER/NAME, or timm weights
            (.safetensors or .pth). (default: random)
        model: timm backbone for a random or imagenet encoder or a weights file: resnet50,
            convnext_tiny, ... (default: the encoder's, else resnet18, or resnet10t for synthetic
            images)
        image_size: Size of the square input images in pixels. (1 to 4,096; default: the encoder's, else
            224, or 64 for synthetic images)
        pretrained: Same as --encoder imagenet. (default: False)
        epochs: Passes over the training images. (1 to 1,000,000; default: 4 for synthetic images, else
            100)
        batch_size: Images per step and process; each gives --views views. (1 to 1,000,000; default: 24)
        opt: Any timm optimizer: adamw, sgd (with Nesterov momentum), momentum (without), lars, lamb,
            ... (default: adamw)
        lr: Peak learning rate. (above 0; default: 0.001)
        momentum: Momentum, for optimizers that have one. (at least 0; default: 0.9)
        weight_decay: Weight decay of all parameters except biases and normalization layers. (at least
            0; default: 0.05)
        clip_grad: Maximum norm of the gradient; vision transformers need it. (above 0; default: no
            clipping)
        sched: Learning rate schedule after the warm-up. (default: cosine)
        warmup_epochs: Epochs of linear learning rate warm-up. (at least 0; default: 1, at most an
            eighth of the run)
        max_steps: Stop after this many optimizer steps; the schedule still spans all epochs. (at least
            1; default: no limit)
        total_views: Total number of views to encode, instead of --epochs, for an equal cost at any
            batch size and --views. (at least 1; default: set by --epochs)
        output_dir: Output directory. (default: runs/DATE-TIME-NAME)
        overwrite: Delete an existing run in the output directory first. (default: False)
        config: YAML file with settings, or the name of a shipped config; flags override it. (default:
            none)
        seed: Random seed. (0 to 4,294,967,295; default: 0)
        mixed_precision: Mixed precision of training; auto: what accelerate launch sets, else bf16 if
            the hardware multiplies it. (default: auto)
        cpu_threads: Threads per process when training on the CPU. (1 to 4,096; default:
            OMP_NUM_THREADS, else its share of the cores)
        tracker: Also log to an accelerate tracker: tensorboard, wandb, mlflow, ... (default: none)
        resume: Resume from a run directory, one of its checkpoints, or auto for the newest one in
            --output-dir. (default: new run)
        channels_last: Use channels-last memory format for faster convolutions. (default: True)
        compile: Compile the model with torch.compile. (default: False)
        log_every: Log metrics every N steps. (at least 1; default: 10)
        max_bad_steps: Number of steps with non-finite gradients to skip before the run stops;
            synchronizes the device every step. (at least 0; default: 0)
        eval_every: Evaluate the encoder with kNN every N epochs, if there are labels. (at least 1;
            default: only before and after training)
        eval_images: Number of images per split, stratified by class, in these evaluations; the last one
            uses all. (at least 1; default: 2000)
        evaluate: Evaluate the encoder before, during and after training. (default: True)
        checkpoint_every: Save a checkpoint every N epochs; the newest two are kept. (at least 1;
            default: 1)
        augment: Preset: color-kept, published, dermoscopy, or a YAML file of `name: value` lines; the
            flags below override it. (default: color-kept)
        views: Number of views per image. (2 to 1,024; default: 4)
        crop_scale: Minimum area of a crop as a fraction of the image. (above 0, at most 1; default:
            0.2)
        rotation: Maximum rotation in degrees, in either direction. (0 to 360; default: 10.0)
        brightness: Brightness jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        contrast: Contrast jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        saturation: Saturation jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        hue: Maximum hue shift in turns of the color wheel, in either direction. (0 to 0.5; default:
            0.02)
        grayscale: Probability of a grayscale view. (0 to 1; default: 0.0)
        blur: Probability of Gaussian blur. (0 to 1; default: 0.5)
        blur_sigma: Maximum standard deviation of the blur in pixels of a 224-pixel view; the minimum is
            0.1. (0 to 100; default: 2.0)
        flip: Probability of a horizontal flip. (0 to 1; default: 0.5)
        cutout_holes: Number of squares cut out of every view. (0 to 100; default: 3)
        cutout_side: Side of a cut-out square in pixels of a 224-pixel view. (above 0, at most 1,000;
            default: 32.0)
        vertical_flip: Probability of a vertical flip. (0 to 1; default: 0.0)
        stain: Probability of a change in melanin and hemoglobin. (0 to 1; default: 0.0)
        hair: Probability of drawn hairs. (0 to 1; default: 0.0)
        ink: Probability of skin marker ink. (0 to 1; default: 0.0)
        ruler: Probability of ruler marks along one side. (0 to 1; default: 0.0)
        bubbles: Probability of gel bubbles and reflections. (0 to 1; default: 0.0)
        defocus: Probability of defocus blur. (0 to 1; default: 0.0)
        defocus_radius: Maximum radius of the defocus blur in pixels of a 224-pixel view; the minimum is
            1. (1 to 100; default: 3.0)
        vignette: Probability of dark corners. (0 to 1; default: 0.0)
        illuminant: Probability of a change in the color of the light. (0 to 1; default: 0.0)
        constancy: Probability of shades-of-gray color constancy, applied after all lighting changes. (0
            to 1; default: 0.0)
        streaming: Stream images from Parquet or WebDataset shards (hf:OWNER/NAME or a directory)
            instead of caching them. (default: False)
        shuffle_buffer: Shuffle buffer size per process in images, kept encoded in memory. (at least 1;
            default: 1000)
        steps_per_epoch: Optimizer steps per epoch of streamed images. (at least 1; default: all images
            minus 2% spares)
        projection_hidden: Width of the hidden layer of the projection head. (at least 1; default: the
            feature dimension)
        projection_dim: Dimension of the embeddings. (1 to 65,536; default: 128)
        grad_cache_chunk: (gravis, gravis-rank, nt-xent, triplet) Encode this many views at a time, to
            fit larger batches in memory; gradients stay the same. (at least 2; default: all at once)
        margin: (gravis, triplet) Margin between the similarities of positives and negatives. (default:
            0, or 0.5 for the hinge)
        attention: (gravis) How to weight the positives of an anchor. (default: softmax)
        attention_temperature: (gravis) Temperature of softmax attention; lower values focus on the most
            similar views. (above 0; default: 0.5)
        negatives: (gravis) How to reduce over negatives: mean, or logsumexp (a soft hardest negative).
            (default: set by the penalty)
        penalty: (gravis) Penalty for a margin violation. (default: softplus)
        temperature: (gravis, gravis-rank, nt-xent) Temperature of the penalty and of the log-sum-exp.
            (above 0; default: 0.1)
        teacher_momentum: (byol, dino) Momentum of the teacher at the start; it rises to 1 along a
            cosine. (0 to 1; default: 0.99)
        invariance_weight: (vicreg) Weight of the mean squared distance between the views of an image.
            (above 0; default: 25.0)
        variance_weight: (vicreg) Weight of the hinge on the standard deviation of each dimension.
            (above 0; default: 25.0)
        covariance_weight: (vicreg) Weight of the squared covariances between dimensions. (above 0;
            default: 1.0)
        local_views: (dino) Number of small views per image besides the --views large ones. (1 to 64;
            default: 4)
        local_size: (dino) Side of a small view as a fraction of the image size, rounded to a multiple
            of 16 pixels. (above 0, at most 1; default: 0.5)
        local_crop_scale: (dino) Maximum area of a small view as a fraction of the image; the minimum is
            0.05. (above 0, at most 1; default: 0.4)
        prototypes: (dino) Number of classes that the views are assigned to. (1 to 65,536; default:
            4096)
        student_temperature: (dino) Temperature of the student's softmax. (above 0; default: 0.1)
        teacher_temperature: (dino) Temperature of the teacher's softmax; lower values sharpen its
            targets. (above 0; default: 0.04)
        center_momentum: (dino) Momentum of the center that is subtracted from the teacher's outputs. (0
            to 1; default: 0.9)
    """

def finetune_classification(
    *,
    columns: str | None = None,
    images: str | None = None,
    modality: Literal["dermoscopic", "clinical"] | None = None,
    classes: Literal["common"] | None = None,
    data: str | Path = "synthetic",
    synthetic_images: int = 1500,
    val_fraction: float = 0.2,
    split_seed: int | None = None,
    cache_dir: str | Path | None = None,
    cache_size: int | None = None,
    num_workers: int | None = None,
    encoder: str | Path = "random",
    model: str | None = None,
    image_size: int | None = None,
    label_fraction: float = 1.0,
    tta: bool = False,
    by: str | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    opt: str = "adamw",
    lr: float = 0.0005,
    momentum: float = 0.9,
    weight_decay: float = 0.05,
    clip_grad: float | None = None,
    sched: Literal["cosine", "tanh", "poly", "step"] = "cosine",
    warmup_epochs: float | None = None,
    max_steps: int | None = None,
    min_steps: int = 200,
    layer_decay: float = 1.0,
    freeze_encoder: bool = False,
    bn_statistics: Literal["auto", "frozen", "batch"] = "auto",
    ema: float | None = None,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    config: str | Path | None = None,
    seed: int = 0,
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto",
    cpu_threads: int | None = None,
    tracker: str | None = None,
    resume: str | Path | None = None,
    channels_last: bool = True,
    compile: bool = False,
    log_every: int = 10,
    max_bad_steps: int = 0,
    eval_every: int | None = None,
    patience: int | None = None,
    crop_scale: float = 0.5,
    rotation: float = 180.0,
    flip: float = 0.5,
    vertical_flip: float = 0.5,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
    hue: float = 0.02,
    class_loss: Literal["balanced", "focal", "plain"] = "balanced",
    oversample: float = 0.1,
    dropout: float = 0.0,
) -> FinetuneResult:
    """Fine-tune an encoder for disease classification.

    Raises UserError for anything the user can fix.

    Args:
        columns: Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold;
            label= reads none, labels=A+B several classes per image. (default: recognized by name)
        images: Directory that holds the images that the table names. (default: the folder of the table)
        modality: Images of one kind only, in a dataset with both (MILK10k, Derm7pt). (default: both)
        classes: The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF,
            VASC. (default: the dataset's own)
        data: Images: directory (a known data set, any folder), CSV or Parquet table, hf:OWNER/NAME or
            synthetic. (default: synthetic)
        synthetic_images: Number of images to draw for --data synthetic. (1 to 1,000,000; default: 1500)
        val_fraction: Fraction of the labeled images to validate on, if the dataset has no validation
            split. (above 0, below 1; default: 0.2)
        split_seed: Draw a new train/validation split with this seed. (at least 0; default: official
            split, else --seed)
        cache_dir: Cache directory for decoded images. (default: $GRAVIS_CACHE, else
            ~/.cache/gravis-triton)
        cache_size: Short side of the cached images in pixels. (1 to 8,192; default: 1.5 times the image
            size)
        num_workers: Worker processes for decoding and loading images; 0 loads in the main process. (0
            to 256; default: one per core, at most 8)
        encoder: random, imagenet, RUN/encoder, hf:OWNER/NAME, timm weights (.safetensors, .pth) or
            color-histogram (evaluate). (default: random)
        model: timm backbone for a random or imagenet encoder or a weights file: resnet50,
            convnext_tiny, ... (default: the encoder's, else resnet18, or resnet10t for synthetic
            images)
        image_size: Size of the square input images in pixels. (1 to 4,096; default: the encoder's, else
            224, or 64 for synthetic images)
        label_fraction: Fraction of the training labels to use, stratified by class; smaller fractions
            are subsets of larger ones. (above 0, at most 1; default: 1.0)
        tta: Test-time augmentation: average over the four flips of an image. (default: False)
        by: Also score the test images by subgroup: columns of the data's tables, such as sex,age or
            skin_tone. (default: no subgroups)
        epochs: Passes over the training images. (1 to 1,000,000; default: 6 for synthetic images, else
            50)
        batch_size: Images per step and process, or all if there are fewer. (1 to 1,000,000; default:
            32)
        opt: Any timm optimizer: adamw, sgd (with Nesterov momentum), momentum (without), lars, lamb,
            ... (default: adamw)
        lr: Peak learning rate of the head and of the encoder's last layer. (above 0; default: 0.0005)
        momentum: Momentum, for optimizers that have one. (at least 0; default: 0.9)
        weight_decay: Weight decay of all parameters except biases and normalization layers. (at least
            0; default: 0.05)
        clip_grad: Maximum norm of the gradient; vision transformers need it. (above 0; default: no
            clipping)
        sched: Learning rate schedule after the warm-up. (default: cosine)
        warmup_epochs: Epochs of linear learning rate warm-up. (at least 0; default: 1, at most an
            eighth of the run)
        max_steps: Stop after this many optimizer steps; the schedule still spans all epochs. (at least
            1; default: no limit)
        min_steps: Minimum number of optimizer steps; epochs are added to reach it. (at least 0;
            default: 200)
        layer_decay: Layer-wise learning rate decay: factor from each encoder layer to the one before
            it. (above 0, at most 1; default: 1.0)
        freeze_encoder: Train the head only. (default: False)
        bn_statistics: Statistics of the encoder's BatchNorm: frozen are those of pre-training, batch
            those of each batch; auto takes frozen if the encoder started from published weights, such
            as ImageNet's. (default: auto)
        ema: Decay of an exponential moving average of the weights, which is evaluated and saved
            instead. (above 0, below 1; default: no averaging)
        output_dir: Output directory. (default: runs/DATE-TIME-NAME)
        overwrite: Delete an existing run in the output directory first. (default: False)
        config: YAML file with settings, or the name of a shipped config; flags override it. (default:
            none)
        seed: Random seed. (0 to 4,294,967,295; default: 0)
        mixed_precision: Mixed precision of training; auto: what accelerate launch sets, else bf16 if
            the hardware multiplies it. (default: auto)
        cpu_threads: Threads per process when training on the CPU. (1 to 4,096; default:
            OMP_NUM_THREADS, else its share of the cores)
        tracker: Also log to an accelerate tracker: tensorboard, wandb, mlflow, ... (default: none)
        resume: Resume from a run directory, one of its checkpoints, or auto for the newest one in
            --output-dir. (default: new run)
        channels_last: Use channels-last memory format for faster convolutions. (default: True)
        compile: Compile the model with torch.compile. (default: False)
        log_every: Log metrics every N steps. (at least 1; default: 10)
        max_bad_steps: Number of steps with non-finite gradients to skip before the run stops;
            synchronizes the device every step. (at least 0; default: 0)
        eval_every: Validate and save a checkpoint every N epochs. (at least 1; default: at most ten
            validations)
        patience: Stop after this many validations without improvement. (at least 1; default: no early
            stopping)
        crop_scale: Minimum area of a crop as a fraction of the image. (above 0, at most 1; default:
            0.5)
        rotation: Maximum rotation in degrees, in either direction. (0 to 360; default: 180.0)
        flip: Probability of a horizontal flip. (0 to 1; default: 0.5)
        vertical_flip: Probability of a vertical flip. (0 to 1; default: 0.5)
        brightness: Brightness jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        contrast: Contrast jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        saturation: Saturation jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        hue: Maximum hue shift in turns of the color wheel, in either direction. (0 to 0.5; default:
            0.02)
        class_loss: Class-balanced cross-entropy, class-balanced focal loss, or plain cross-entropy.
            (default: balanced)
        oversample: Repeat the images of rare classes until each class is at least this fraction of the
            training images. (0 to 0.5; default: 0.1)
        dropout: Dropout before the classifier. (0 to 1; default: 0.0)
    """

def finetune_segmentation(
    *,
    columns: str | None = None,
    images: str | None = None,
    modality: Literal["dermoscopic", "clinical"] | None = None,
    classes: Literal["common"] | None = None,
    data: str | Path = "synthetic",
    synthetic_images: int = 1500,
    val_fraction: float = 0.2,
    split_seed: int | None = None,
    cache_dir: str | Path | None = None,
    cache_size: int | None = None,
    num_workers: int | None = None,
    encoder: str | Path = "random",
    model: str | None = None,
    image_size: int | None = None,
    label_fraction: float = 1.0,
    tta: bool = False,
    by: str | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    opt: str = "adamw",
    lr: float = 0.0005,
    momentum: float = 0.9,
    weight_decay: float = 0.05,
    clip_grad: float | None = None,
    sched: Literal["cosine", "tanh", "poly", "step"] = "cosine",
    warmup_epochs: float | None = None,
    max_steps: int | None = None,
    min_steps: int = 200,
    layer_decay: float = 1.0,
    freeze_encoder: bool = False,
    bn_statistics: Literal["auto", "frozen", "batch"] = "auto",
    ema: float | None = None,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    config: str | Path | None = None,
    seed: int = 0,
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto",
    cpu_threads: int | None = None,
    tracker: str | None = None,
    resume: str | Path | None = None,
    channels_last: bool = True,
    compile: bool = False,
    log_every: int = 10,
    max_bad_steps: int = 0,
    eval_every: int | None = None,
    patience: int | None = None,
    crop_scale: float = 0.5,
    rotation: float = 180.0,
    flip: float = 0.5,
    vertical_flip: float = 0.5,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
    hue: float = 0.02,
    decoder: Literal["unet", "unetplusplus", "deeplabv3plus", "fpn"] = "unet",
) -> FinetuneResult:
    """Fine-tune an encoder for lesion segmentation.

    Raises UserError for anything the user can fix.

    Args:
        columns: Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold;
            label= reads none, labels=A+B several classes per image. (default: recognized by name)
        images: Directory that holds the images that the table names. (default: the folder of the table)
        modality: Images of one kind only, in a dataset with both (MILK10k, Derm7pt). (default: both)
        classes: The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF,
            VASC. (default: the dataset's own)
        data: Images: directory (a known data set, any folder), CSV or Parquet table, hf:OWNER/NAME or
            synthetic. (default: synthetic)
        synthetic_images: Number of images to draw for --data synthetic. (1 to 1,000,000; default: 1500)
        val_fraction: Fraction of the labeled images to validate on, if the dataset has no validation
            split. (above 0, below 1; default: 0.2)
        split_seed: Draw a new train/validation split with this seed. (at least 0; default: official
            split, else --seed)
        cache_dir: Cache directory for decoded images. (default: $GRAVIS_CACHE, else
            ~/.cache/gravis-triton)
        cache_size: Short side of the cached images in pixels. (1 to 8,192; default: 1.5 times the image
            size)
        num_workers: Worker processes for decoding and loading images; 0 loads in the main process. (0
            to 256; default: one per core, at most 8)
        encoder: random, imagenet, RUN/encoder, hf:OWNER/NAME, timm weights (.safetensors, .pth) or
            color-histogram (evaluate). (default: random)
        model: timm backbone for a random or imagenet encoder or a weights file: resnet50,
            convnext_tiny, ... (default: the encoder's, else resnet18, or resnet10t for synthetic
            images)
        image_size: Size of the square input images in pixels. (1 to 4,096; default: the encoder's, else
            224, or 64 for synthetic images)
        label_fraction: Fraction of the training labels to use, stratified by class; smaller fractions
            are subsets of larger ones. (above 0, at most 1; default: 1.0)
        tta: Test-time augmentation: average over the four flips of an image. (default: False)
        by: Also score the test images by subgroup: columns of the data's tables, such as sex,age or
            skin_tone. (default: no subgroups)
        epochs: Passes over the training images. (1 to 1,000,000; default: 6 for synthetic images, else
            50)
        batch_size: Images per step and process, or all if there are fewer. (1 to 1,000,000; default:
            32)
        opt: Any timm optimizer: adamw, sgd (with Nesterov momentum), momentum (without), lars, lamb,
            ... (default: adamw)
        lr: Peak learning rate of the head and of the encoder's last layer. (above 0; default: 0.0005)
        momentum: Momentum, for optimizers that have one. (at least 0; default: 0.9)
        weight_decay: Weight decay of all parameters except biases and normalization layers. (at least
            0; default: 0.05)
        clip_grad: Maximum norm of the gradient; vision transformers need it. (above 0; default: no
            clipping)
        sched: Learning rate schedule after the warm-up. (default: cosine)
        warmup_epochs: Epochs of linear learning rate warm-up. (at least 0; default: 1, at most an
            eighth of the run)
        max_steps: Stop after this many optimizer steps; the schedule still spans all epochs. (at least
            1; default: no limit)
        min_steps: Minimum number of optimizer steps; epochs are added to reach it. (at least 0;
            default: 200)
        layer_decay: Layer-wise learning rate decay: factor from each encoder layer to the one before
            it. (above 0, at most 1; default: 1.0)
        freeze_encoder: Train the head only. (default: False)
        bn_statistics: Statistics of the encoder's BatchNorm: frozen are those of pre-training, batch
            those of each batch; auto takes frozen if the encoder started from published weights, such
            as ImageNet's. (default: auto)
        ema: Decay of an exponential moving average of the weights, which is evaluated and saved
            instead. (above 0, below 1; default: no averaging)
        output_dir: Output directory. (default: runs/DATE-TIME-NAME)
        overwrite: Delete an existing run in the output directory first. (default: False)
        config: YAML file with settings, or the name of a shipped config; flags override it. (default:
            none)
        seed: Random seed. (0 to 4,294,967,295; default: 0)
        mixed_precision: Mixed precision of training; auto: what accelerate launch sets, else bf16 if
            the hardware multiplies it. (default: auto)
        cpu_threads: Threads per process when training on the CPU. (1 to 4,096; default:
            OMP_NUM_THREADS, else its share of the cores)
        tracker: Also log to an accelerate tracker: tensorboard, wandb, mlflow, ... (default: none)
        resume: Resume from a run directory, one of its checkpoints, or auto for the newest one in
            --output-dir. (default: new run)
        channels_last: Use channels-last memory format for faster convolutions. (default: True)
        compile: Compile the model with torch.compile. (default: False)
        log_every: Log metrics every N steps. (at least 1; default: 10)
        max_bad_steps: Number of steps with non-finite gradients to skip before the run stops;
            synchronizes the device every step. (at least 0; default: 0)
        eval_every: Validate and save a checkpoint every N epochs. (at least 1; default: at most ten
            validations)
        patience: Stop after this many validations without improvement. (at least 1; default: no early
            stopping)
        crop_scale: Minimum area of a crop as a fraction of the image. (above 0, at most 1; default:
            0.5)
        rotation: Maximum rotation in degrees, in either direction. (0 to 360; default: 180.0)
        flip: Probability of a horizontal flip. (0 to 1; default: 0.5)
        vertical_flip: Probability of a vertical flip. (0 to 1; default: 0.5)
        brightness: Brightness jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        contrast: Contrast jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        saturation: Saturation jitter: the factor is drawn from 1 - x to 1 + x. (0 to 10; default: 0.2)
        hue: Maximum hue shift in turns of the color wheel, in either direction. (0 to 0.5; default:
            0.02)
        decoder: Decoder from segmentation-models-pytorch. (default: unet)
    """

def evaluate(
    *,
    test_data: str | None = None,
    test_columns: str | None = None,
    columns: str | None = None,
    images: str | None = None,
    modality: Literal["dermoscopic", "clinical"] | None = None,
    classes: Literal["common"] | None = None,
    data: str | Path = "synthetic",
    synthetic_images: int = 1500,
    val_fraction: float = 0.2,
    split_seed: int | None = None,
    cache_dir: str | Path | None = None,
    cache_size: int | None = None,
    num_workers: int | None = None,
    encoder: str | Path = "random",
    model: str | None = None,
    image_size: int | None = None,
    label_fraction: float = 1.0,
    tta: bool = False,
    by: str | None = None,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    config: str | Path | None = None,
    seed: int = 0,
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto",
    cpu_threads: int | None = None,
    tracker: str | None = None,
) -> EvaluateResult:
    """Evaluate a frozen encoder with k nearest neighbors and a linear probe.

    Raises UserError for anything the user can fix.

    Args:
        test_data: Another dataset, all labeled images of which are the test set (external validation).
            (default: the test images of --data)
        test_columns: Like --columns, for the table of --test-data. (default: recognized by name)
        columns: Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold;
            label= reads none, labels=A+B several classes per image. (default: recognized by name)
        images: Directory that holds the images that the table names. (default: the folder of the table)
        modality: Images of one kind only, in a dataset with both (MILK10k, Derm7pt). (default: both)
        classes: The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF,
            VASC. (default: the dataset's own)
        data: Images: directory (a known data set, any folder), CSV or Parquet table, hf:OWNER/NAME or
            synthetic. (default: synthetic)
        synthetic_images: Number of images to draw for --data synthetic. (1 to 1,000,000; default: 1500)
        val_fraction: Fraction of the labeled images to validate on, if the dataset has no validation
            split. (above 0, below 1; default: 0.2)
        split_seed: Draw a new train/validation split with this seed. (at least 0; default: official
            split, else --seed)
        cache_dir: Cache directory for decoded images. (default: $GRAVIS_CACHE, else
            ~/.cache/gravis-triton)
        cache_size: Short side of the cached images in pixels. (1 to 8,192; default: 1.5 times the image
            size)
        num_workers: Worker processes for decoding and loading images; 0 loads in the main process. (0
            to 256; default: one per core, at most 8)
        encoder: random, imagenet, RUN/encoder, hf:OWNER/NAME, timm weights (.safetensors, .pth) or
            color-histogram (evaluate). (default: random)
        model: timm backbone for a random or imagenet encoder or a weights file: resnet50,
            convnext_tiny, ... (default: the encoder's, else resnet18, or resnet10t for synthetic
            images)
        image_size: Size of the square input images in pixels. (1 to 4,096; default: the encoder's, else
            224, or 64 for synthetic images)
        label_fraction: Fraction of the training labels to use, stratified by class; smaller fractions
            are subsets of larger ones. (above 0, at most 1; default: 1.0)
        tta: Test-time augmentation: average over the four flips of an image. (default: False)
        by: Also score the test images by subgroup: columns of the data's tables, such as sex,age or
            skin_tone. (default: no subgroups)
        output_dir: Output directory. (default: runs/DATE-TIME-NAME)
        overwrite: Delete an existing run in the output directory first. (default: False)
        config: YAML file with settings, or the name of a shipped config; flags override it. (default:
            none)
        seed: Random seed. (0 to 4,294,967,295; default: 0)
        mixed_precision: Mixed precision of training; auto: what accelerate launch sets, else bf16 if
            the hardware multiplies it. (default: auto)
        cpu_threads: Threads per process when training on the CPU. (1 to 4,096; default:
            OMP_NUM_THREADS, else its share of the cores)
        tracker: Also log to an accelerate tracker: tensorboard, wandb, mlflow, ... (default: none)
    """

def embed(
    *,
    columns: str | None = None,
    images: str | None = None,
    modality: Literal["dermoscopic", "clinical"] | None = None,
    classes: Literal["common"] | None = None,
    encoder: str | Path,
    data: str | Path,
    output: str | Path = "features.parquet",
    overwrite: bool = False,
    model: str | None = None,
    image_size: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    batch_size: int = 64,
    num_workers: int | None = None,
) -> EmbedResult:
    """Extract image features: one row per image with id, path, label, split, group and features.

    Raises UserError for anything the user can fix.

    Args:
        columns: Columns of the table: image=photo,label=dx,group=patient,mask=segmentation,split=fold;
            label= reads none, labels=A+B several classes per image. (default: recognized by name)
        images: Directory that holds the images that the table names. (default: the folder of the table)
        modality: Images of one kind only, in a dataset with both (MILK10k, Derm7pt). (default: both)
        classes: The diagnoses that datasets have in common: melanoma, nevus, BCC, AK, BKL, SCC, DF,
            VASC. (default: the dataset's own)
        encoder: Encoder directory (RUN/encoder), hf:OWNER/NAME, imagenet or random.
        data: Images: a directory (ISIC, HAM10000 or any folder of images), hf:OWNER/NAME, or synthetic.
        output: Parquet file to write. (default: features.parquet)
        overwrite: Replace an existing file. (default: False)
        model: timm backbone for an imagenet or random encoder. (default: resnet18, or resnet10t for
            synthetic images)
        image_size: Size of the square input images in pixels. (1 to 4,096; default: the encoder's, else
            224)
        dtype: Data type of the features in the file. (default: float32)
        batch_size: Images per batch and process. (1 to 1,000,000; default: 64)
        num_workers: Worker processes that decode images; 0 decodes in the main process. (0 to 256;
            default: one per core, at most 8)
    """

def predict(
    *,
    model: str,
    images: tuple[str, ...],
    output_dir: str | Path = "predictions",
    format: Literal["csv", "parquet"] = "csv",
    overwrite: bool = False,
    batch_size: int = 64,
    num_workers: int | None = None,
) -> PredictResult:
    """Predict diseases or lesion masks of images with a fine-tuned model.

    Raises UserError for anything the user can fix.

    Args:
        model: Directory of a fine-tuning run.
        images: Image files or directories.
        output_dir: Directory for predictions.csv, and for masks (IMAGE_segmentation.png) or
            submission.csv. (default: predictions)
        format: File format of the predictions. (default: csv)
        overwrite: Overwrite earlier predictions in a non-empty directory. (default: False)
        batch_size: Images per batch and process. (1 to 1,000,000; default: 64)
        num_workers: Worker processes that decode images; 0 decodes in the main process. (0 to 256;
            default: one per core, at most 8)
    """

def export(
    *,
    run: str,
    format: Literal["timm", "onnx", "torch-export"] = "onnx",
    output: str | Path | None = None,
    overwrite: bool = False,
) -> ExportResult:
    """Export the fine-tuned model or the encoder of a run for timm, ONNX or torch.export, and verify the result.

    transformers loads the timm format, too. Both load RUN/encoder without an export.

    Raises UserError for anything the user can fix.

    Args:
        run: Directory of a pre-training or fine-tuning run.
        format: Format of the exported model. (default: onnx)
        output: Output directory. (default: RUN/export-FORMAT)
        overwrite: Replace an existing directory. (default: False)
    """

def push(
    *,
    run: str,
    repository: str,
    license: str = "unknown",
    private: bool = False,
    dry_run: str | None = None,
) -> PushResult:
    """Push the fine-tuned model or the encoder of a run to the Hugging Face Hub, with a model card.

    Raises UserError for anything the user can fix.

    Args:
        run: Directory of a finished run.
        repository: Repository on the Hub; created if it does not exist.
        license: License of the training images, for the model card. (default: unknown)
        private: Create the repository as private. (default: False)
        dry_run: Write the files to this directory instead of uploading them. (default: upload)
    """

def write_report(
    *,
    runs: tuple[str, ...],
    output: str | Path = "side_by_side.html",
) -> ReportResult:
    """Re-create report.html of finished runs; for several runs, also write a page that compares them.

    Raises UserError for anything the user can fix.

    Args:
        runs: Directories of finished runs.
        output: HTML file for the comparison of several runs. (default: side_by_side.html)
    """

def list_runs(
    *,
    directory: str = "runs",
    json: bool = False,
) -> RunsResult:
    """List finished, running and stopped runs with their scores.

    Raises UserError for anything the user can fix.

    Args:
        directory: Directory to search. (default: runs)
        json: Print JSON. (default: False)
    """

def compare(
    *,
    grid: str | Path = "compare-synthetic",
    data: str | Path | None = None,
    output_dir: str | Path | None = None,
) -> CompareResult:
    """Compare encoders over tasks, label fractions and seeds; run again to resume an interrupted comparison.

    Raises UserError for anything the user can fix.

    Args:
        grid: YAML file with the grid, or the name of a shipped one (see docs/comparison.md). (default:
            compare-synthetic)
        data: Images: a directory, hf:OWNER/NAME, or synthetic. (default: the grid's)
        output_dir: Directory for all runs and the comparison. (default: the grid's)
    """
