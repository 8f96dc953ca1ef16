"""Advice on the encoding that suits a source, and why; rules over what a few of its images are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .looks import SampleFacts, median_size

_TINY, _SMALL, _HUGE = 48, 128, 700  # pixels of the shorter side
_MUCH = 4.0


@dataclass(frozen=True, slots=True)
class Advice:
    """An encoding, the options that go with it, and the reason in words."""

    encoding: str
    options: str
    reason: str

    def __str__(self) -> str:
        return f"--encoding {self.encoding}{self.options and ' ' + self.options}: {self.reason}"


class _CommonFacts(NamedTuple):
    side: int  # shorter one of the median image
    jpeg: float  # share of the images
    fit: float  # share of the JPEGs that can be sliceable
    growth: Callable[[str], float]  # bytes in an encoding over those of the files


def advise(looks: Sequence[SampleFacts]) -> list[Advice]:
    """Encodings that suit these images, the best first; none if nothing is known of them."""
    known = [look for look in looks if look.sizes]
    if not known:
        return []
    facts = _facts(known)
    found = (rule(facts) for rule in _RULES)
    return [*(advice for advice in found if advice is not None), _KEEP]


def _facts(known: list[SampleFacts]) -> _CommonFacts:
    jpegs = [look for look in known if look.format == "jpeg"]
    kept = sum(look.sizes["keep"] for look in known)

    def growth(name: str) -> float:
        return sum(look.sizes[name] for look in known) / max(kept, 1)

    fit = sum(not look.unfit for look in jpegs) / max(len(jpegs), 1)
    return _CommonFacts(min(median_size(known)), len(jpegs) / len(known), fit, growth)


def _tiny(facts: _CommonFacts) -> Advice | None:
    if facts.side > _TINY:
        return None
    reason = (
        f"images of about {facts.side} pixels cost more to decode than to read; raw pixels need no "
        f"decoding, at {facts.growth('raw'):.1f} times the files' bytes"
    )
    return Advice("raw", "", reason)


def _small(facts: _CommonFacts) -> Advice | None:
    if facts.side > _SMALL or facts.jpeg > 0.5:
        return None
    times = facts.growth("png")
    return Advice("png", "", f"small images stay exact, at {times:.1f} times the files' bytes")


def _huge(facts: _CommonFacts) -> Advice | None:
    if facts.side < _HUGE:
        return None
    times = facts.growth("jpeg, resize_short 256")
    reason = (
        f"for training with crops of 224: of a shorter side of {facts.side} pixels most would be "
        f"thrown away after decoding; shrunk once, they take {times:.2f} times the files' bytes"
    )
    return Advice("jpeg", "--resize-short 256", reason)


def _sliceable(facts: _CommonFacts) -> Advice | None:
    if facts.jpeg * facts.fit <= 0.5:
        return None
    share = f"{100 * facts.jpeg * facts.fit:.0f} % of the images are JPEGs that can be cut"
    reason = f"{share} before they are decoded; no pixel changes"
    return Advice("sliceable", "", f"{reason}, at {facts.growth('sliceable'):.2f} times the bytes")


def _unfit(facts: _CommonFacts) -> Advice | None:
    if facts.jpeg <= 0.5 or facts.fit > 0.5 or facts.side <= _SMALL:
        return None
    times = facts.growth("jpeg")
    reason = (
        "most of the JPEGs are of a kind that has to be decoded whole; compressed anew, with some "
        f"loss, they can be cut, at {times:.2f} times the files' bytes"
    )
    return Advice("jpeg", "", reason)


def _lossless(facts: _CommonFacts) -> Advice | None:
    if facts.jpeg > 0.5 or facts.side <= _SMALL:
        return None
    times = facts.growth("jpeg")
    if times * _MUCH > 1:
        return None
    reason = (
        "most of the images are not JPEGs, and have to be decoded whole; where some loss does no "
        f"harm, JPEGs take {times:.2f} times the files' bytes and can be cut"
    )
    return Advice("jpeg", "", reason)


_RULES = (_tiny, _small, _huge, _sliceable, _unfit, _lossless)
_KEEP = Advice("keep", "", "where unpacking has to give the very files back")
