"""r3jax's rollout engine at the script of 40 episodes: looks show the scripted boxes."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import mini, script
from benchmarks.ours import plain
from r3jax import host, patches
from r3jax.buckets import Buckets, ImageBucket
from r3jax.data import chat, frames, images, looks, tokenizer
from r3jax.records import Look, LookOutcome, Question, Source
from r3jax.rollout import crops, engine, programs, stops
from r3jax.run import pretrained

ROWS = mini.QUESTIONS * script.EPISODES
CROP_WINDOWS = (script.CROP_SIDE // patches.FACTOR // patches.WINDOW) ** 2
BUCKETS = Buckets(
    prompt_tokens=(mini.PROMPT_TOKENS - 1,),  # the last token starts the suffix
    suffix_tokens=(script.EPISODE_TOKENS,),
    look_tokens=script.LOOK_TOKENS,
    images=(ImageBucket(mini.QUESTIONS, plain.WINDOWS, plain.SLOTS),),
    crops=(ImageBucket(ROWS, CROP_WINDOWS, plain.SLOTS),),
    fill=(1.0,),  # all episodes of the script are equally long
)
FORM = chat.ChatFormat(
    system=None,
    instruction="",
    image_bounds=frames.PixelBounds(mini.IMAGE_SIDE**2, mini.IMAGE_SIDE**2),
    look_rules=looks.LookRules(frames.PixelBounds(script.CROP_SIDE**2, script.CROP_SIDE**2)),
)


def rules(tok: tokenizer.Tokenizer, vocab_size: int) -> programs.TokenRules:
    """Every turn of so many tokens asks for a look, whatever they are; nothing ends an episode."""
    first = stops.ANSWER_CLOSED + 1  # the state after one token
    after = [*range(first + 1, first + script.TURN - 1), stops.BOX_CLOSED]
    table = np.array([first, stops.BOX_CLOSED, stops.ANSWER_CLOSED, *after], np.int32)
    return programs.TokenRules(
        programs.allowed_tokens(tok, vocab_size),
        np.repeat(table[:, None], vocab_size, axis=1),
        np.array([vocab_size]),  # no token has this number
    )


@dataclasses.dataclass
class ScriptedLooks:
    """Answers the looks of an engine from the script: rows of a question ask in their order."""

    pictures: Sequence[np.ndarray]
    asked: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def __call__(self, text, image, frame, earlier, rules) -> Look:
        number = len(earlier)
        if number == script.LOOKS:
            return Look(text, LookOutcome.TOO_MANY)
        question = next(q for q, one in enumerate(self.pictures) if one is image)
        episode = self.asked[question, number] % script.EPISODES
        self.asked[question, number] += 1
        box = script.box(question, episode, number)
        floats = tuple(map(float, box))
        region = script.region(question, episode, number)
        cut = functools.partial(images.cut_crop, image, region)
        zoom = script.CROP_SIDE / (box[2] - box[0])
        return Look(text, LookOutcome.OK, floats, floats, zoom, region, cut)


def questions(tok: tokenizer.Tokenizer, pictures: Sequence[np.ndarray]) -> list[Question]:
    """Questions about the pictures whose prompts have as many tokens as the peer's."""
    text = "?"
    while (found := _prompt_tokens(text, tok, pictures[0])) < mini.PROMPT_TOKENS:
        text = "7" + text
    assert found == mini.PROMPT_TOKENS
    return [Question(str(q), text, (picture,)) for q, picture in enumerate(pictures)]


def _prompt_tokens(text: str, tok: tokenizer.Tokenizer, picture: np.ndarray) -> int:
    return len(chat.build_prompt(Question("", text, (picture,)), tok, FORM)[0].tokens)


def rollout(directory: str, dtype: str) -> tuple[dict, dict[str, Callable[[], None]]]:
    """Sets up a step of the script's 40 episodes."""
    host.keep_freed_memory()
    start = pretrained.load(directory)
    net = start.model(dtype=jnp.dtype(dtype))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, net.dtype), start.params)
    pictures = mini.pictures(mini.QUESTIONS)
    config = engine.RolloutConfig(mini.QUESTIONS, script.EPISODES)
    made = programs.make_programs(
        net,
        rules(start.tokenizer, net.config.text.vocab_size),
        config.sampling,
        config.questions,
        config.episodes,
        BUCKETS,
    )
    way = crops.way_for(jax.default_backend())
    look = ScriptedLooks(pictures)
    eng = engine.Engine(net, start.tokenizer, FORM, BUCKETS, config, made, way, look, True)
    asked, steps = questions(start.tokenizer, pictures), iter(range(10**6))

    def step() -> None:
        groups = engine.collect(eng, eng.policy(params), asked, seed=0, step=next(steps))
        sampled = [(e.source == Source.SAMPLED).sum() for g in groups for e in g.episodes]
        assert sampled == [script.SAMPLED] * ROWS, sampled

    return plain.versions(), {"step": step}
