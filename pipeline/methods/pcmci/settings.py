"""What may be configured about PCMCI. "S" names its supplement, "N" public notes on the paper."""

from typing import Literal

from pydantic import Field

from pipeline.settings import Section

StageName = Literal["ICH", "ICI", "IVC"]


class Network(Section):
    stages: list[StageName] = Field(
        ["ICH", "ICI", "IVC"], description="in the order in which they act; none: a plain network"
    )
    width: int = Field(512, ge=8, description="D of labels, tokens and the decoder (S: 512)")
    heads: int = Field(8, ge=1, description="of attention and of relations between labels (S: 8)")
    feedforward: int = Field(2048, ge=1, description="hidden units of the decoder")
    temperature: float = Field(0.01, gt=0, description="τ of cos/τ: one over the dual encoder's logit scale")
    regularisation: float = Field(2.0, gt=0, description="λ of the transport plan, whose entropy is negative")
    refine: Literal["product", "plan", "similarity", "sharpened", "mean"] = Field(
        "product",
        description="weights of frames: S⊙P*, P* alone, S without transport, the same as sharp as the product "
        "(temperature τ/(1+1/λ)), or all frames alike",
    )
    marginal: Literal["own", "population"] = Field(
        "own", description="H of the video itself, or its mean over train videos (S, equation 11, read literally)"
    )
    mix: Literal["labels", "features"] = Field(
        "labels", description="W_I and W_C are 2N×N and mix labels (as printed), or 2D×D"
    )
    label_attention: bool = Field(False, description="self-attention between labels in the decoder")
    frames_as_tokens: bool = Field(
        False, description="a control: frames of the dual encoder are tokens too, without any stage"
    )


class Training(Section):
    target: Literal["actions", "activity"] = Field(
        "actions", description="actions: several per video, mAP; activity: one per video, accuracy"
    )
    tune: Literal["text", "visual"] = Field(
        "visual",
        description="text: ICH, ICI and the classifier are trained; visual: IVC and the decoder too (S, Table 8)",
    )
    explain_codependency: bool = Field(
        False,
        description="of actions: training is told the log-odds of each label given the video's other labels, so that "
        "the network learns what the video adds, and use goes without them; for uses in which actions come together "
        "otherwise than in training",
    )
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    seed: int = 0


class World(Section):
    labels: Literal["grammar", "index"] = Field(
        "grammar", description="rows of labels: of a grammar of 10 activities and 48 actions, or the data set's own"
    )
    frames: int = Field(32, ge=1, description="L, and L_v")
    width: int = Field(96, ge=82, description="of both encoders; actions, objects and styles are orthogonal in it")
    train: int = Field(1100, ge=10, description="videos of the grammar; of an index there are as many as it has")
    test: int = Field(360, ge=10, description="videos of each test set; with the grammar as many choose the epoch")
    object_rate: float = Field(0.9, ge=0.5, le=1, description="ρ_H: an action's object is there, or absent without it")
    style_rate: float = Field(0.95, ge=0, le=1, description="ρ_C: the style is that of the activity")
    contamination: float = Field(0.8, ge=0, description="κ: part of its object in the text of an action")
    hub: float = Field(1.0, ge=0, description="how much of all actions a frame without one shows the dual encoder")
    noise: float = Field(1.6, ge=0, description="of both encoders, one draw for both")
    seed: int = 0


class Frames(Section):
    n_frames: int = Field(64, ge=1, description="L, evenly over the whole video, for the dual encoder")


class Tokens(Section):
    n_clips: int = Field(8, ge=1, description="clips for the video encoder, evenly over the whole video")
    clip_frames: int = Field(8, ge=1, description="consecutive samples that are one clip; a token per slice of it")


class Labels(Section):
    prompt: str = Field(
        "{}", pattern=r"\{\}", description="text of a label; {} is its name with spaces for underscores"
    )
    texts: dict[str, str] = Field(default_factory=dict, description="label → its text, where the prompt does not fit")


class PCMCI(Section):
    source: Literal["videos", "world"] = Field(
        "videos", description="what networks are trained on: videos of the data set, or a structural causal model"
    )
    frames: Frames = Frames()
    tokens: Tokens = Tokens()
    labels: Labels = Labels()
    network: Network = Network()
    training: Training = Training()
    world: World = World()
    concepts: list[Literal["motion", "words"]] = Field(
        default_factory=list,
        description="of videos of people: which motions, and which objects and scenes, go with each label; made as "
        "motion and context are configured",
    )
    controls: list[
        Literal[
            "plain", "keys", "ICH", "ICH, no OT", "ICI", "IVC", "explained", "plain, explained", "shuffled", "oracle"
        ]
    ] = Field(
        ["plain"],
        description="networks that are trained beside the configured one: without stages, with frames as tokens, with "
        "one stage, told of codependency, with the frames of other videos, or on the test sets' own interventions (a "
        "ceiling)",
    )
