"""The config of an R-GRPO run."""

import dataclasses

from r3jax.buckets import Buckets
from r3jax.mesh import MeshConfig
from r3jax.model.config import LoraConfig
from r3jax.model.layers import Dtype, Remat
from r3jax.reward import terms
from r3jax.reward.alarms import AlarmConfig
from r3jax.reward.endpoint_judge import JudgeConfig
from r3jax.rollout import engine
from r3jax.run.session import CheckpointConfig
from r3jax.update import losses, pack
from r3jax.update.state import OptimizerConfig, check_lora


@dataclasses.dataclass(frozen=True)
class RgrpoRunConfig:
    """R-GRPO of the model directory `model` on the questions of `data`, named as in `sources`.

    `updates` is how many steps of the optimizer a rollout is used for. Each computes on
    `micro_batch` groups at a time (0: all), for less memory; what it learns is the same. `refill`
    is how many more rollouts may be made to replace groups whose rewards are all equal. Questions
    of a batch have the same value of the tag `group_by_tag`, if it is given: episodes about as long
    as each other decode and pad better together. `dtype` is that of computation: weights that learn
    and their moments are float32. With `lora` adapters alone learn, beside a base in `dtype`:
    fresh ones, or those of the run with the workdir `adapters`. What rules cannot judge goes to
    `judge`, if there is one; what it says is kept in the workdir, unless it names a file, or the
    workdir is in a bucket.

    Raises: ValueError for a number that is too small, or adapters of a part that has none.
    """

    model: str
    data: str
    buckets: Buckets
    optimizer: OptimizerConfig
    rollout: engine.RolloutConfig
    steps: int
    seed: int = 0
    reward: terms.RewardConfig = terms.RewardConfig()
    judge: JudgeConfig | None = None
    loss: losses.RgrpoConfig = losses.RgrpoConfig()
    scale_by_std: bool = True
    updates: int = 1
    micro_batch: int = 0
    refill: int = 0
    group_by_tag: str = ""
    logit_chunk: int = 1024
    lora: LoraConfig | None = None
    adapters: str = ""
    dtype: Dtype = "float32"
    remat: Remat = "dots"
    mesh: MeshConfig = MeshConfig()
    alarms: AlarmConfig = AlarmConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tensorboard: bool = False

    def __post_init__(self):
        least = {"steps": 1, "updates": 1, "refill": 0, "logit_chunk": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}, found {getattr(self, name)}")
        check_lora(self.lora, self.adapters, self.optimizer)
        pack.check_micro_batch(self.micro_batch, self.rollout.questions, "rollout.questions")

    @property
    def together(self) -> int:
        """How many groups an update computes on at a time."""
        return self.micro_batch or self.rollout.questions
