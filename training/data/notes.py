"""What a person should know about a data folder."""

from collections import defaultdict

from overfly.runtime.bundle.labels import similar_labels
from overfly.runtime.images.discovery import passed_over_note
from overfly.runtime.reporter import count_and_name
from overfly.training.data.dataset import Dataset, group_by_content
from overfly.training.data.parts import n_parts, parts_named, shared_folders


def data_notes(dataset: Dataset) -> list[str]:
    """Return what a person should know about the data before a training starts."""
    notes = folder_notes(dataset)
    notes += [
        f"the classes {' and '.join(map(ascii, names))} differ only in case, blanks, underscores, Unicode form or "
        "invisible characters: if they are one class, move all images into one folder; if not, rename one"
        for names in similar_labels(dataset.classes)
    ]
    if split_note := _split_note(dataset):
        notes.append(split_note)
    return notes + _duplicate_notes(dataset)


def folder_notes(dataset: Dataset) -> list[str]:
    """Return which files and folders of a data folder are not used."""
    notes = []
    if dataset.ignored:
        more = f" and {len(dataset.ignored) - 1} more" if len(dataset.ignored) > 1 else ""
        notes.append(f"ignored {dataset.ignored[0]}{more}: not an image, by its name")
    if dataset.outside:
        notes.append(f"ignored {count_and_name(dataset.outside, 'image')} outside of the class folders")
    if dataset.passed_over:
        notes.append(passed_over_note(dataset.passed_over))
    return notes


def _split_note(dataset: Dataset) -> str | None:
    """Return a note if the classes, or the folders in them, look like the parts of a split but divide nothing."""
    if dataset.parts:
        return None
    inside: dict[str, set[str]] = defaultdict(set)
    for class_name, *deeper in (image.name.split("/") for image in dataset.images):
        # The empty name, which no folder has, stands for an image directly in the class folder.
        inside[class_name].add(deeper[0] if len(deeper) > 1 else "")
    names = sorted(set().union(*inside.values()))
    if n_parts(names) > 1:
        found = ", ".join(filter(parts_named, names))
        return (
            f"the folders {found} within the class folders do not divide the images: if they should, put the class "
            "folders into folders of these names"
        )
    shared = [] if "" in names else shared_folders([*inside.values()])
    divided = [class_name for class_name, folders in inside.items() if "" not in folders]
    are_named_like_parts = any(
        all(map(parts_named, group)) and n_parts(group) > 1 for group in (dataset.classes, divided)
    )
    # A split has few parts, but may have many classes.
    if len(shared) < len(dataset.classes) and not are_named_like_parts:
        return None
    return (
        f"training {count_and_name(dataset.classes, 'class', 'classes')}. If these are the parts of a split, rename "
        "their folders to train, val and test, with the class folders in each of them"
    )


def _duplicate_notes(dataset: Dataset) -> list[str]:
    """Return a note about equal images in different classes, and one about equal images in the same class."""
    conflicts: list[str] = []
    repeated: list[str] = []
    for first, *others in group_by_content(dataset.images).values():
        for image in others:
            pair = f"{first.name} and {image.name}"
            (repeated if image.label == first.label else conflicts).append(pair)
    notes = []
    if conflicts:
        pairs = count_and_name(conflicts, "pair")
        notes.append(f"label conflict: equal images are in different classes, {pairs}; keep each image in one class")
    if repeated:
        pairs = count_and_name(repeated, "pair")
        notes.append(f"equal images are in the same class, {pairs}; they go to the same part of the split")
    return notes
