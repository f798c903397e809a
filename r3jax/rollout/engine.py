"""A model ready to make episodes of questions; `loop` is how it makes them."""

import dataclasses
from collections.abc import Iterable, Iterator

import jax
from jax.sharding import Mesh

from r3jax import shares
from r3jax.buckets import Buckets
from r3jax.data import chat, looks
from r3jax.data.tokenizer import Tokenizer
from r3jax.model.qwen import Policy, Qwen25VL
from r3jax.records import Group, Question
from r3jax.rollout import coming, crops, fitting, loop, programs
from r3jax.rollout.sampling import SamplingConfig
from r3jax.shares import Share


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
    """How episodes are made: `questions` groups at a time of `episodes` each.

    Groups come and go `exchange` at a time (None: all together). Rows that wait for crops are
    served when as much time is lost as if all rows had waited `patience` steps. On a mesh, heads
    are split over `tensor` devices (None: as in updates), and groups are dealt to the others; they
    come and go when as many of each part are done.
    """

    questions: int = 16
    episodes: int = 5
    sampling: SamplingConfig = SamplingConfig()
    exchange: int | None = None
    patience: int = 64
    tensor: int | None = None

    def __post_init__(self):
        for name in ("questions", "episodes", "patience", "tensor"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        if self.exchange is not None and (self.exchange < 1 or self.questions % self.exchange):
            raise ValueError(
                f"exchange must divide questions, {self.questions}, found {self.exchange}"
            )

    @property
    def arriving(self) -> int:
        """How many questions come in together."""
        return self.exchange or self.questions

    def is_own(self, number: int, share: Share) -> bool:
        """Whether a host with this share rolls out the question of this number.

        >>> [RolloutConfig(4, exchange=2).is_own(n, Share(1, 2)) for n in range(4)]
        [False, True, False, True]
        """
        return number % self.arriving in share.of(self.arriving)


@dataclasses.dataclass
class Tally:
    """What decoding did: `steps` of `rows` rows at a time, which sampled so many `tokens`."""

    steps: int = 0
    rows: int = 0
    tokens: int = 0

    @property
    def useful(self) -> float:
        """The share of row-steps that sampled a token of an episode."""
        return self.tokens / max(1, self.steps * self.rows)


@dataclasses.dataclass(frozen=True)
class Engine:
    """A model ready to make episodes: it holds no parameters and no state.

    `way` is how crops are cut, `look` answers a box, as `looks.take_look` does; another function
    shows something else.
    `keep_features` leaves what the vision tower made of images and crops in the records, for
    updates that leave the tower as it is.
    """

    model: Qwen25VL
    tokenizer: Tokenizer
    form: chat.ChatFormat
    buckets: Buckets
    config: RolloutConfig
    programs: programs.Programs
    way: crops.Way
    look: looks.LookTaker = looks.take_look
    keep_features: bool = False

    def policy(self, params: dict) -> Policy:
        """Parameters as rollouts read them: a copy."""
        return self.programs.policy(params)


def make_engine(
    model: Qwen25VL,
    tokenizer: Tokenizer,
    form: chat.ChatFormat,
    buckets: Buckets,
    config: RolloutConfig,
    keep_features: bool = False,
    mesh: Mesh | None = None,
    share: Share = shares.ALL,
    by_question: bool = False,
) -> Engine:
    """Returns an engine whose episodes have at most the largest suffix bucket of tokens.

    On a `mesh` of several hosts' devices, a host has its `share` of the questions. With
    `by_question`, on one device, questions say how their tokens are chosen, and not the config.

    Raises ValueError where a crop or a message that can come would fit no bucket, and where
    features are kept that do not lie on the host that needs them.
    """
    if by_question and mesh is not None:
        raise ValueError("by_question is for one device: leave out the mesh")
    fitting.check_buckets(tokenizer, form, buckets)
    if keep_features and not shares.holds_its_parts(mesh, share):
        raise ValueError(
            "rollout.tensor: updates split heads over more devices than a host has, rollouts over "
            "fewer, so that features lie on other hosts than those who need them: choose the same "
            "number for mesh.tensor and rollout.tensor"
        )
    made = programs.make_programs(
        model,
        programs.token_rules(tokenizer, model.config.text.vocab_size),
        config.sampling,
        config.questions,
        config.episodes,
        buckets,
        config.arriving,
        mesh,
        share,
        by_question,
    )
    way = crops.way_for(jax.default_backend())
    return Engine(model, tokenizer, form, buckets, config, made, way, keep_features=keep_features)


def collect(
    engine: Engine,
    policy: Policy,
    questions: Iterable[Question | None],
    seed: int,
    step: int,
    first: int = 0,
    tally: Tally | None = None,
) -> list[Group]:
    """Returns a group of episodes for each question, of this host's, in order; see `stream`."""
    done = stream(engine, policy, questions, seed, step, first, tally)
    return [group for _, group in sorted(done, key=lambda pair: pair[0])]


def stream(
    engine: Engine,
    policy: Policy,
    questions: Iterable[Question | None],
    seed: int,
    step: int,
    first: int = 0,
    tally: Tally | None = None,
) -> Iterator[tuple[int, Group]]:
    """Yields the number of each question, counted from `first`, and its group as it is finished.

    Keys fold in the number: the same question of the same step gives the same episodes whatever is
    decoded beside it. Questions are taken a few at a time, shortly before they come in.
    `tally` counts along and is complete at the end.

    Several hosts call this together, each with as many questions: its own, as told by
    `RolloutConfig.is_own`, and None for others. What is called when follows from what rows of all
    hosts have done, so that all call the same programs; what a host yields are its own groups.
    """
    queue = coming.Queue(coming.build(engine, questions, seed, step, first))
    return loop.drive(engine, policy, queue, Tally() if tally is None else tally)
