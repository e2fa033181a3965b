"""What a traceback means."""

import pytest

from kaito_jupyter.hf_logs import REMEDIES, Reader, explain
from kaito_jupyter.hf_logs.errors import classify
from kaito_trainer.contract.events import ERROR_KINDS

HEAD = "Traceback (most recent call last):"
FRAME = '  File "/workspace/tfs/fine_tuning.py", line 98, in <module>'


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.45 GiB.", "out-of-memory"),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory", "out-of-memory"),
        ("MemoryError", "out-of-memory"),
        ("OSError: [Errno 28] No space left on device: '/mnt/results'", "disk-full"),
        ("GatedRepoError: 401 Client Error. Access to model meta-llama/Llama is restricted", "gated-model"),
        ("OSError: You are trying to access a gated repo.", "gated-model"),
        ("ValueError: Target modules {'q'} not found in the base model.", "target-modules"),
        ("ValueError: Please specify `target_modules` in `peft_config`", "target-modules"),
        ("ModuleNotFoundError: No module named 'flash_attn'", "dependency"),
        ("ImportError: Using `load_in_4bit` requires bitsandbytes: `pip install -U bitsandbytes`", "dependency"),
        ("ValueError: Unable to load the dataset.", "dataset"),
        ("DatasetGenerationError: An error occurred while generating the dataset", "dataset"),
        ("KeyError: 'messages'", "dataset"),
        ("ValueError: Cannot use chat template functions because tokenizer.chat_template is not set", "dataset"),
        ("UndefinedError: 'dict object' has no attribute 'content'", "dataset"),
        ("OSError: Can't load tokenizer for '/workspace/weights'.", "model"),
        ("OSError: We couldn't connect to 'https://huggingface.co' to load the files", "model"),
        ("RepositoryNotFoundError: 404 Client Error.", "model"),
        ("TypeError: SFTConfig.__init__() got an unexpected keyword argument 'max_seq_length'", "config"),
        (
            "ValueError: Some specified arguments are not used by the HfArgumentParser: ['--x'] keys are not used",
            "config",
        ),
        ("ValueError: Passing a custom data collator is not supported when using padding-free.", "config"),
        ("RuntimeError: DataLoader worker exited: SIGKILL", "killed"),
        ("ZeroDivisionError: division by zero", "crash"),
    ],
)
def test_kinds(text, kind):
    assert classify(text) == kind
    assert explain([HEAD, FRAME, f"some.module.{text}"]).kind == kind


def test_every_kind_has_a_remedy_and_no_other():
    assert set(REMEDIES) == set(ERROR_KINDS)


def test_the_message_and_remedy_are_for_people():
    error = explain([HEAD, FRAME, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB."])
    assert error.message == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB."
    assert error.remedy == REMEDIES["out-of-memory"]


def test_a_chain_is_told_by_its_first_exception_that_says_something():
    chain = [
        HEAD,
        FRAME,
        "KeyError: 'x'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        HEAD,
        FRAME,
    ]
    assert explain([*chain, "OSError: [Errno 28] No space left on device"]).kind == "disk-full"
    assert explain([HEAD, FRAME, "MemoryError", *chain, "ValueError: x"]).kind == "out-of-memory"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["ValueError: without a traceback"],
        [HEAD, FRAME],
        [HEAD, FRAME, "KeyboardInterrupt"],
        [HEAD, FRAME, "what is this line?"],
        ["", " ", "\x00"],
    ],
)
def test_without_an_exception_there_is_nothing_to_explain(lines):
    assert explain(lines) is None


def test_ranks_prefix_their_lines():
    lines = [f"[rank0]: {text}" for text in (HEAD, FRAME, "torch.OutOfMemoryError: CUDA out of memory.")]
    assert explain(lines).kind == "out-of-memory"


def test_a_traceback_in_red_is_one_too():
    assert explain(["\x1b[31m" + HEAD, FRAME, "\x1b[1mMemoryError\x1b[0m"]).kind == "out-of-memory"


def test_a_long_message_is_cut():
    assert len(explain([HEAD, "ValueError: " + "x" * 100_000]).message) == 2000


def test_a_run_that_goes_on_after_a_traceback_can_fail_again():
    reader = Reader(logging_steps=1)
    text = f"{HEAD}\n{FRAME}\nValueError: one\n"
    again = "\r  0%|          | 0/9 [00:00<?, ?it/s]\n" + text.replace("one", "two")
    errors = [e.data["message"] for e in reader.feed(text + text + again) if e.type == "error"]
    assert errors == ["ValueError: one", "ValueError: two"]
