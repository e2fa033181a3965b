"""The whole story of a supervised fine-tuning, top to bottom."""

from __future__ import annotations

import time
from functools import partial

import transformers

from . import best, card, data, defaults, ending, facts, fast, hf_config, model, results, resume, samples
from .callbacks import EventCallback
from .checkpoints import Checkpoints
from .choices import TOKENIZE_ROWS
from .contract import TrainingConfig
from .contract.events import Phase
from .emit import Emitter
from .failures import Failure
from .oom import Limits
from .places import Places
from .stop import Cancelled, Stop
from .tokens import Tokenized, Tokenizing, loss_on
from .trainer import Trainer

PROGRESS_EVERY = 1.0
"""Seconds between two words about how far the tokenising is."""


def main(config: TrainingConfig, places: Places, emit: Emitter, stop: Stop) -> int:
    """Fine-tune as the config says, and return the exit code. Raises `Failure` for what is known to go wrong."""
    output, device = places.output(config), model.device(config)

    # All that can be refused without the data and the model is refused first.
    hf_config.check_keys(config)
    arguments, chosen = hf_config.training_arguments(config, output, device)
    hf_config.lora(config, model.ALL_LINEAR, [])
    hf_config.quantization(config)
    path = places.model(config)

    emit(Phase(phase="loading", detail="data"))
    rows = data.load(places.data(config), config)
    on = loss_on(rows.format, config)
    emit(Phase(phase="loading", detail=f"model {path}"))
    tokenizer = model.tokenizer(path, config, places)
    if rows.format == "conversational" and not tokenizer.chat_template:
        message = "The rows are conversations, and the model has no chat template."
        raise Failure("config", message, model.TEMPLATE_REMEDY)
    base = model.base(path, config, device)
    targets, left_out = model.target_modules(base, model.wanted_modules(config))
    length = defaults.max_length(config, model.context_length(base))

    at_once = config.TrainerOptions.tokenize_rows or TOKENIZE_ROWS
    tokenizing = Tokenizing(tokenizer, rows.format, on, length, model.ends(tokenizer, base), at_once=at_once)
    train, held_out = tokenize(rows, tokenizing, emit, stop)
    asked = samples.questions(rows.held_out, tokenizing, config)
    hf_config.settle(arguments, chosen, held_out=len(held_out.dataset))
    quick = fast.settle(base, arguments, chosen, config, device, targets, train, held_out, length, output)
    lora = hf_config.lora(config, targets, left_out)
    start = resume.start(
        output, resume.trajectory(path, config, lora, arguments, quick.sequences), config, places, emit.speaks
    )
    kept = Checkpoints.of(output, start.run, config, speaks=emit.speaks, sync=emit.sync)
    transformers.set_seed(arguments.seed)  # the adapter begins at random
    trainer = Trainer(
        base,
        arguments,
        train_dataset=quick.sequences,
        eval_dataset=held_out.dataset if len(held_out.dataset) else None,
        processing_class=tokenizer,
        peft_config=lora,
        plain_loss=quick["loss_head"] == "plain",
        checkpoints=kept,
        origin=start.checkpoint,
        limits=Limits.noted(output, config, [path, base.dtype, targets, length, device.name]),
    )
    chosen = quick.chosen | chosen | start.choices | trainer.limits.choices
    begin = facts.begin(trainer, path, device, config, rows, tokenizing, train, held_out, chosen, quick.made)
    answer = partial(samples.answers, trainer.model, asked, tokenizing, config, stop.check)
    events = EventCallback(emit, begin, stop, answer if asked else None, start, kept, trainer.clock)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(events)
    patience = best.Best(config, start.told.evaluations)
    trainer.add_callback(patience)
    trainer.tell = events.tell

    stop.be_patient()  # from here on there is something to lose: a signal waits for the end of the step
    stop.check()
    outcome = run(trainer, start)
    step, last = trainer.state.global_step, trainer.state.max_steps
    if not step:
        stop.check()
    events.phase = "saving"
    early = patience.word(step, last)
    emit(Phase(phase="saving", detail=early and f"stopped early: {early}"))
    ending.save(trainer, step, output, emit)
    try:
        events.check()
        if step < last and not early:
            raise Failure("crash", f"The training ended by itself at step {step} of {last}.")
        if trainer.eval_dataset is not None and events.owes(step):
            emit(Phase(phase="saving", detail="measuring the adapter on the held-out rows"))
            trainer.evaluate()
        held = ending.hold(trainer, events, output, emit)
        events.answer(held)
    except Cancelled:
        trainer.checkpoint()
        held = ending.hold(trainer, events, output, emit)
    completed = not stop.asked
    events.history(last)
    end = ending.told(trainer, events, held, output, outcome, early, completed=completed)
    if emit.speaks:
        card.write(output, begin, end, config, places.data(config))
    if emit.speaks and completed:
        results.complete(output, step, end.to_dict())
        kept.clear()
    emit(end)
    return 0 if completed else stop.exit_code


def tokenize(rows: data.Data, tokenizing: Tokenizing, emit: Emitter, stop: Stop) -> tuple[Tokenized, Tokenized]:
    """Both sets as tokens, telling how far it is. Raises `Failure` when nothing is left to train on."""
    total, told = len(rows.train) + len(rows.held_out), time.monotonic()

    def tell(done: int) -> None:
        nonlocal told
        stop.check()
        if done == total or time.monotonic() - told > PROGRESS_EVERY:
            told = time.monotonic()
            emit(Phase(phase="tokenizing", done=done, total=total, unit="rows"))

    emit(Phase(phase="tokenizing", done=0, total=total, unit="rows"))
    train = tokenizing.dataset(rows.train, tell)
    if not len(train.dataset):
        message = f"None of the {len(rows.train)} rows has a token to train on within {tokenizing.max_length} tokens."
        raise Failure("dataset", message, "Give rows with an answer, or a larger TrainingArguments.max_length.")
    held_out = tokenizing.dataset(rows.held_out, lambda done: tell(len(rows.train) + done), by_length=True)
    return train, held_out


def run(trainer: Trainer, start: resume.Start) -> dict[str, float]:
    """Train, and return the loop's own summary; nothing when it was cancelled within an evaluation."""
    try:
        outcome = trainer.train(str(start.checkpoint.path) if start.checkpoint else None)
    except Cancelled:
        if trainer.state.global_step:
            trainer.checkpoint()
        return {}
    metrics: dict[str, float] = outcome.metrics
    return metrics | {"train_runtime": metrics["train_runtime"] + trainer.seconds}
