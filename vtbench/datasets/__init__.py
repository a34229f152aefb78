"""Data sets: labelled images by name, decoded once, subset by the seed, and batches of them."""

from vtbench.datasets import sources
from vtbench.datasets.dataset import DataError, ImageDataset, Split
from vtbench.datasets.loading import LoadedDataset, load_dataset, load_datasets
from vtbench.datasets.source import DATASETS, list_datasets
from vtbench.registry import import_files

import_files(sources.__name__, sources.__path__)

__all__ = [
    "DATASETS",
    "DataError",
    "ImageDataset",
    "LoadedDataset",
    "Split",
    "list_datasets",
    "load_dataset",
    "load_datasets",
]
