"""Captions of the demo's world, what each of them says, and a tokenizer made from them.

What a caption or a picture says is a vector of weights over `CONCEPTS`. The cosine of two such
vectors is what the dual encoder's cosine shall be: a caption and a picture that share nothing
have 0, and as motion, object and scene are different axes, changing the scene cannot change what
an object's caption scores.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from pipeline.demo.classes import MOTIONS, OBJECTS, SCENES

PERSON = "person"
CONCEPTS = (*MOTIONS, *OBJECTS, *SCENES, PERSON)

# Other words for the same thing; the dual encoder places them where it places the name itself.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "lift": ("lifting", "raising overhead", "pushing up"),
    "squat": ("squatting", "crouching", "knee bend"),
    "wave": ("waving", "waving a hand", "greeting"),
    "kick": ("kicking", "swinging a leg"),
    "jumping jack": ("jumping jacks", "star jump", "doing jumping jacks"),
    "march": ("marching", "walking on the spot", "stepping"),
    "bow": ("bowing", "bending forward"),
    "punch": ("punching", "boxing"),
    "ball": ("sphere", "round ball", "basketball"),
    "barbell": ("weight bar", "iron bar with weights", "weights"),
    "umbrella": ("parasol", "sunshade", "open umbrella"),
    "box": ("crate", "parcel", "cardboard box"),
    "hoop": ("hula hoop", "large ring"),
    "racket": ("tennis racket", "racquet"),
    "chair": ("seat", "wooden chair"),
    "guitar": ("acoustic guitar", "string instrument"),
    "gym": ("gymnasium", "sports hall", "fitness room"),
    "beach": ("seaside", "sandy shore", "sandy beach"),
    "street": ("city street", "road", "town"),
    "park": ("green park", "meadow", "lawn with trees"),
    "kitchen": ("cooking area", "room with cupboards"),
    "snow": ("snowy mountains", "winter landscape", "ski slope"),
    "stage": ("theatre stage", "theater", "stage with curtains"),
    "library": ("bookshelves", "reading room", "shelves full of books"),
    "person": ("human", "someone", "human body", "man", "woman"),
}

# Words for what the demo never shows: they shall resemble no picture.
_ABSENT = """
airplane anchor apple axe backpack bag banana bathtub bear bed bee bell bicycle blanket boat
bread bridge broom bus butterfly button cake camel camera canoe castle cat cello church clock
coin computer cow crocodile cup desert desk diamond dog dolphin donkey dragon drill drum duck
eagle elephant envelope factory farm feather fire fish flag flute fork fox frog garage giraffe
goat goggles hammer harbour harp helicopter helmet hockey horse hospital iceberg island jungle
kangaroo keyboard ladder laptop lawnmower lemon lion lizard lobster map mask microphone mirror
monkey moon motorcycle mouse mushroom needle nest office owl parachute parrot pen pencil piano
pig pillow pineapple pizza pond pool potato prison pumpkin rabbit rifle river robot rocket rope
runway sail saxophone scissors scooter shark sheep ship shovel skateboard snake sofa spider
spoon stadium submarine suitcase surfboard swan swimming sword table telephone television
telescope tent tiger toilet tractor train trampoline trumpet turtle vase violin volcano wheel
whistle windmill wolf zebra
"""
ABSENT = tuple(_ABSENT.split())

TEMPLATES = (
    "a video of {}",
    "a video of a {}",
    "a video of the {}",
    "a photo of {}",
    "a photo of a {}",
    "a picture of {}",
    "{}",
    "a {}",
    "the {}",
)

# How much each part of a picture counts. Motion counts less because one frame hardly shows it,
# the person because every picture has one.
_OBJECT_WEIGHT = _SCENE_WEIGHT = 1.0
_MOTION_WEIGHT = _PERSON_WEIGHT = 0.5
_WEIGHTS = np.array(
    [_MOTION_WEIGHT] * len(MOTIONS) + [_OBJECT_WEIGHT] * len(OBJECTS) + [_SCENE_WEIGHT] * len(SCENES) + [_PERSON_WEIGHT]
)

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"


def content(*concepts: str) -> np.ndarray:
    """What the concepts together say: a unit vector `[25]` over `CONCEPTS`.

    A concept alone gives its axis; together they count as in `picture_content`.
    """
    vector = np.zeros(len(CONCEPTS))
    positions = [CONCEPTS.index(concept) for concept in concepts]
    vector[positions] = _WEIGHTS[positions]
    return vector / np.linalg.norm(vector)


def picture_content(factors: np.ndarray) -> np.ndarray:
    """What plain pictures show: unit vectors `[B, 25]` from factors `[B, 3]`.

    `factors` holds positions in MOTIONS, OBJECTS and SCENES.
    """
    starts = np.cumsum([0, len(MOTIONS), len(OBJECTS)])
    vectors = np.zeros((len(factors), len(CONCEPTS)))
    for column, start in enumerate(starts):
        vectors[np.arange(len(factors)), start + factors[:, column]] = 1
    vectors[:, -1] = 1
    vectors *= _WEIGHTS
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def phrase(concept: str, rng: np.random.Generator, synonyms: float = 0.4) -> str:
    """The concept's name, or with probability `synonyms` another word for it."""
    if rng.uniform() < synonyms:
        return str(rng.choice(SYNONYMS[concept]))
    return concept


def concept_captions(rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """One caption of every concept alone, in a random template; contents `[25, 25]`."""
    captions = [str(rng.choice(TEMPLATES)).format(phrase(c, rng)) for c in CONCEPTS]
    return captions, np.eye(len(CONCEPTS))


def compound_captions(rng: np.random.Generator, count: int) -> tuple[list[str], np.ndarray]:
    """Random captions that name several concepts; contents `[count, 25]`."""
    captions, contents = [], []
    for _ in range(count):
        motion, thing, scene = (str(rng.choice(names)) for names in (MOTIONS, OBJECTS, SCENES))
        m, o, s = phrase(motion, rng), phrase(thing, rng), phrase(scene, rng)
        text, concepts = [
            (f"a person with a {o}", (PERSON, thing)),
            (f"a person in a {s}", (PERSON, scene)),
            (f"a {o} in a {s}", (thing, scene)),
            (f"{o} {s}", (thing, scene)),
            (f"{m} with a {o}", (motion, thing)),
            (f"{o} {m}", (motion, thing)),
            (f"{m} in a {s}", (motion, scene)),
            (f"{s} {m}", (motion, scene)),
            (f"a person {m}", (PERSON, motion)),
            (f"a person with a {o} in a {s}", (PERSON, thing, scene)),
            (f"a person {m} with a {o} in a {s}", (PERSON, motion, thing, scene)),
        ][int(rng.integers(11))]
        if rng.uniform() < 0.3:
            text = f"a video of {text}"
        captions.append(text)
        contents.append(content(*concepts))
    return captions, np.stack(contents)


def absent_captions(rng: np.random.Generator, count: int) -> list[str]:
    """Captions of what no picture shows: known words for other things, and made-up words."""
    captions = []
    for _ in range(count):
        if rng.uniform() < 0.5:
            word = str(rng.choice(ABSENT))
        else:
            word = "".join(rng.choice(list("eariotnslcudpmhgbfywkvxzjq"), rng.integers(3, 11)))
        captions.append(str(rng.choice(TEMPLATES)).format(word))
    return captions


def byte_pairs(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges, most frequent pair first, that make every one of the words a single token.

    Byte-pair encoding (Sennrich et al., ACL 2016) without a limit. Equally frequent pairs are
    taken in alphabetical order, so that the same words always give the same merges.
    """
    pieces = [[*word[:-1], word[-1] + _WORD_END] for word in sorted(set(words))]
    merges = []
    while counts := Counter(pair for piece in pieces for pair in pairwise(piece)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for piece in pieces:
            for position in range(len(piece) - 1, 0, -1):
                if tuple(piece[position - 1 : position + 1]) == best:
                    piece[position - 1 : position + 1] = ["".join(best)]
    return merges


def build_tokenizer() -> CLIPTokenizer:
    """Builds a CLIP tokenizer whose byte pairs come from the demo's words.

    Every byte is a token, alone and at a word's end, so any text can be written; the demo's own
    words are one token each.
    """
    texts = [*TEMPLATES, *ABSENT, "a person with a in a of the"]
    texts += [text for name, others in SYNONYMS.items() for text in (name, *others)]
    merges = byte_pairs(word for text in texts for word in re.findall("[a-z]+", text))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(symbol + _WORD_END for symbol in alphabet), *map("".join, merges)]
    tokens = [*dict.fromkeys(tokens), _START, _END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the tokenizer in the fast format and in the older vocabulary and merges files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))
