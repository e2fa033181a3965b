"""Every mistake in options, sources and configurations has its exact message; several are told at once."""

import pytest

from kaito_jupyter.errors import SpecError
from kaito_jupyter.presets import PRESETS
from kaito_jupyter.spec import build_spec

KAITO = {
    "preset": "phi-4-mini-instruct",
    "input": "https://example.com/train.parquet",
    "output": "image:reg.io/a/b:1",
    "push_secret": "login",
    "instance_type": "Standard_NC24ads_A100_v4",
    "target": "kaito",
}
HERE = {"preset": "owner/model"}

TUNABLE = ", ".join(p.name for p in PRESETS.values() if not p.retired)

BAD = [
    (KAITO, {'preset': 'phi4-mini'}, 'tuning.preset.name: "phi4-mini" is no preset that KAITO can tune. Did you mean "phi-4-mini-instruct"?'),
    (KAITO, {'preset': 'meta-llama/Llama-3.1-8B'}, f'tuning.preset.name: "meta-llama/Llama-3.1-8B" is no preset that KAITO can tune. KAITO tunes {TUNABLE}.'),
    (KAITO, {'preset': './models/mine'}, f'tuning.preset.name: "./models/mine" is a folder, and KAITO tunes its presets only. KAITO tunes {TUNABLE}.'),
    (KAITO, {'preset': ''}, f'tuning.preset.name: "" is no model. KAITO tunes {TUNABLE}.'),
    (KAITO, {'method': 'lora8'}, 'tuning.method: "lora8" is not a tuning method. Did you mean "lora"? Use "lora" or "qlora".'),
    (KAITO, {'method': 'dora'}, 'tuning.method: "dora" is not a tuning method. Did you mean "lora"? Use "lora" or "qlora".'),
    (KAITO, {'name': 'My_Run'}, 'metadata.name: "My_Run" is not a run\'s name. Use at most 63 lower-case letters, digits and -, beginning and ending with a letter or digit. For example "my-run".'),
    (KAITO, {'name': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}, 'metadata.name: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…" has 64 letters. Use at most 63 lower-case letters, digits and -, beginning and ending with a letter or digit.'),
    (KAITO, {'name': ''}, 'metadata.name: "" is not a run\'s name. Use at most 63 lower-case letters, digits and -, beginning and ending with a letter or digit.'),
    (KAITO, {'namespace': 'Team A'}, 'metadata.namespace: "Team A" is not a namespace. Use at most 63 lower-case letters, digits and -, beginning and ending with a letter or digit. For example "team-a".'),
    (KAITO, {'input': 'ftp://example.com/train.csv'}, 'tuning.input.urls[0]: "ftp://example.com/train.csv" does not use http or https. Give an absolute http or https address, for example https://example.com/data/train.parquet.'),
    (KAITO, {'input': 'http://localhost/train.csv'}, 'tuning.input.urls[0]: "http://localhost/train.csv" is on localhost. KAITO fetches only from public addresses: put the file elsewhere, or use image: or pvc:.'),
    (KAITO, {'input': 'https:///train.csv'}, 'tuning.input.urls[0]: "https:///train.csv" is not an absolute address. Give an absolute http or https address, for example https://example.com/data/train.parquet.'),
    (KAITO, {'input': 'http://169.254.169.254/train.csv'}, 'tuning.input.urls[0]: "http://169.254.169.254/train.csv" is a link-local address. KAITO fetches only from public addresses: put the file elsewhere, or use image: or pvc:.'),
    (KAITO, {'input': 'http://10.1.2.3/train.csv'}, 'tuning.input.urls[0]: "http://10.1.2.3/train.csv" is a private address. KAITO fetches only from public addresses: put the file elsewhere, or use image: or pvc:. Where the cluster allows this one, say so with --private-urls.'),
    (KAITO, {'input': 'http://[::1]/train.csv'}, 'tuning.input.urls[0]: "http://[::1]/train.csv" is a loopback address. KAITO fetches only from public addresses: put the file elsewhere, or use image: or pvc:.'),
    (KAITO, {'input': 'http://metadata.google.internal/x.csv'}, 'tuning.input.urls[0]: "http://metadata.google.internal/x.csv" is a cloud\'s metadata service. KAITO fetches only from public addresses: put the file elsewhere, or use image: or pvc:.'),
    (KAITO, {'input': 'https://example.com/download?id=7'}, 'tuning.input.urls[0]: "download" names no format, and KAITO\'s trainer finds its file by that. The last part of the address must hold "csv", "json", "parquet", "arrow" or "webdataset".'),
    (KAITO, {'input': 'https://example.com/export_csv_2024.jsonl'}, 'tuning.input.urls[0]: "export_csv_2024.jsonl" names "csv" and "json": KAITO\'s trainer takes one of them by chance. Set DatasetConfig.dataset_extension, or give the file another name.'),
    (KAITO, {'input': 'https://example.com/a.csv https://example.com/b.csv'}, "tuning.input.urls: 2 addresses are given, and KAITO's trainer reads one file, whichever it finds first. Give one address."),
    (KAITO, {'input': 'image:Registry.io/Team/Data:1'}, 'tuning.input.image: "Registry.io/Team/Data:1" has upper-case letters in its name. A repository\'s name is lower-case: use "Registry.io/team/data:1".'),
    (KAITO, {'input': 'image:'}, 'tuning.input.image: "" is not an image. Write it like registry.example.com/team/adapter:1.'),
    (KAITO, {'input': 'image:https://reg.io/a:1'}, 'tuning.input.image: "https://reg.io/a:1" is an address, not an image. Leave out "https://".'),
    (KAITO, {'input': 'image:reg.io/a b'}, 'tuning.input.image: "reg.io/a b" is not an image. Write it like registry.example.com/team/adapter:1.'),
    (KAITO, {'input': 'pvc:My_Claim'}, 'tuning.input.volumeSource.persistentVolumeClaim.claimName: "My_Claim" is not a claim\'s name. Use lower-case letters, digits, - and ., beginning and ending with a letter or digit.'),
    (KAITO, {'input': 'no/such/file.csv'}, 'tuning.input: "no/such/file.csv" does not exist here. Give image:REF, pvc:CLAIM[/FILE], https://…, s3://…, or a file of this machine.'),
    (KAITO, {'output': None, 'push_secret': None}, 'tuning.output: it is not said where the adapter goes. Give image:REGISTRY/NAME:TAG (an image, with a push secret) or pvc:CLAIM (a volume of the cluster).'),
    (KAITO, {'output': '/home/me/adapter', 'push_secret': None}, 'tuning.output: "/home/me/adapter" is a folder of this machine, which a pod does not see. Give image:REGISTRY/NAME:TAG (an image, with a push secret) or pvc:CLAIM (a volume of the cluster).'),
    (KAITO, {'push_secret': None}, 'tuning.output.imagePushSecret: an image is pushed with the login of a Secret, and none is named. Name one (--push-secret); `kubectl create secret docker-registry` makes such a Secret.'),
    (KAITO, {'output': 'pvc:claim'}, '--push-secret: there is no image to push. Give --output image:REF with it.'),
    (KAITO, {'push_secret': 'My Secret'}, 'tuning.output.imagePushSecret: "My Secret" is not a Secret\'s name. Use lower-case letters, digits, - and ., beginning and ending with a letter or digit.'),
    (KAITO, {'instance_type': None}, 'resource.instanceType: KAITO has to know which GPU node to train on. Name a size, for example Standard_NC24ads_A100_v4 (1 GPU, 80 GiB).'),
    (KAITO, {'instance_type': 'Standard_NC24ads_A100_v5'}, 'resource.instanceType: "Standard_NC24ads_A100_v5" is no GPU node size that KAITO knows. Did you mean "Standard_NC24ads_A100_v4"?'),
    (KAITO, {'instance_type': 'A100'}, 'resource.instanceType: "A100" is no GPU node size that KAITO knows. Use Standard_NC24ads_A100_v4 (1 GPU, 80 GiB).'),
    (KAITO, {'label_selector': {'app': 'x'}}, "resource.labelSelector: {'app': 'x'} is not a label selector. Write it like {matchLabels: {app: tuning}}."),
    (KAITO, {'label_selector': {'matchLabels': {'app': 5}}}, "resource.labelSelector.matchLabels: 5 is not a label's value. Use at most 63 letters, digits, -, _ and . in quotes."),
    (KAITO, {'options': {'batch_size': 4}}, "TrainingArguments.per_device_train_batch_size: batches of 4 fail in KAITO's trainer as soon as two examples differ in length. Use 1, and gradient_accumulation_steps: 4 for the same steps."),
    (KAITO, {'options': {'batch_size': 4, 'gradient_accumulation_steps': 2}}, "TrainingArguments.per_device_train_batch_size: batches of 4 fail in KAITO's trainer as soon as two examples differ in length. Use 1, and gradient_accumulation_steps: 8 for the same steps."),
    (KAITO, {'options': {'packing': True}}, "TrainingArguments.packing: KAITO's trainer makes its batches itself (it brings its own collator), and fails with this. Leave it out, or train with our trainer (backend job or local)."),
    (KAITO, {'options': {'TrainingArguments.padding_free': True}}, "TrainingArguments.padding_free: KAITO's trainer makes its batches itself (it brings its own collator), and fails with this. Leave it out, or train with our trainer (backend job or local)."),
    (KAITO, {'config': {'TrainingArguments': {'gradient_checkpointing_kwargs': {'use_reentrant': False}}}}, 'TrainingArguments.gradient_checkpointing_kwargs: KAITO\'s trainer cannot read a mapping here. Write it as text: gradient_checkpointing_kwargs: \'{"use_reentrant": false}\''),
    (KAITO, {'config': {'LoraConfig': {'rank_pattern': {'q_proj': 4}}}}, "LoraConfig.rank_pattern: KAITO's trainer reads its options from a command line, on which this one cannot be written. Leave it out, or train with our trainer (backend job or local)."),
    (KAITO, {'config': {'TrainingArguments': {'label_names': []}}}, "TrainingArguments.label_names: KAITO's trainer cannot read an empty list. Leave it out."),
    (KAITO, {'config': {'LoraConfig': {'exclude_modules': ['lm_head']}}}, "LoraConfig.exclude_modules: KAITO's image holds peft 0.11.1, which has no such field: the trainer would end with an error. Leave it out, or train with our trainer (backend job or local)."),
    (KAITO, {'config': {'TrainingArguments': {'report_to': ['none', 'tensorboard']}}}, "TrainingArguments.report_to: KAITO's trainer takes one value here, and this is a list of 2. Give one value, or train with our trainer (backend job or local)."),
    (KAITO, {'config': {'TrainingArguments': {'run_name': '-x'}}}, "TrainingArguments.run_name: \"-x\" begins with -, and KAITO's trainer takes it for an option. Let it begin with another letter."),
    (KAITO, {'config': {'LoraConfig': {'init_lora_weights': 'gaussian'}}}, "LoraConfig.init_lora_weights: KAITO's trainer reads true or false here, and not \"gaussian\". Leave it out, or train with our trainer (backend job or local)."),
    (KAITO, {'config': {'TrainingArguments': {'train_sampling_strategy': 'batch_rebalance'}}}, "TrainingArguments.train_sampling_strategy: KAITO's image (transformers 5.14.1) does not know \"batch_rebalance\". Use one of \"random\", \"sequential\" or \"group_by_length\"."),
    (KAITO, {'config': {'TrainingArguments': {'quantum_mode': 1}}}, "TrainingArguments.quantum_mode: KAITO's trainer has no such field, and would end with an error. Leave it out."),
    (KAITO, {'options': {'attn_implementation': 'sdpa'}}, 'ModelConfig.attn_implementation: KAITO\'s trainer has no such field, and would end with an error. Leave it out. The fields are "pretrained_model_name_or_path", "state_dict", "cache_dir", "from_tf", "force_download", "resume_download", "proxies", "output_loading_info", "local_files_only", "revision", "trust_remote_code", "load_in_4bit", "load_in_8bit", "torch_dtype", "device_map" and "chat_template".'),
    (KAITO, {'options': {'target_modules': '^model.*q_proj$'}}, 'LoraConfig.target_modules: "^model.*q_proj$" is a pattern, and KAITO\'s trainer takes names. List the layers by name.'),
    (KAITO, {'options': {'DatasetConfig.dataset_path': '/mnt/data/train.parquet'}}, 'DatasetConfig.dataset_path: KAITO\'s trainer puts /mnt/ before it, and would look for /mnt/mnt/data/train.parquet. Write "data/train.parquet".'),
    (KAITO, {'options': {'train_test_split': 0.9, 'eval_strategy': 'steps', 'per_device_eval_batch_size': 4}}, "TrainingArguments.per_device_eval_batch_size: batches of 4 fail in KAITO's trainer as soon as two examples differ in length. Use 1."),
    (HERE, {'preset': 'phi-4-mini-instruct1'}, 'tuning.preset.name: "phi-4-mini-instruct1" is no preset, no Hugging Face id and no folder. Did you mean "phi-4-mini-instruct"?'),
    (HERE, {'preset': 'a b'}, 'tuning.preset.name: "a b" is no preset, no Hugging Face id and no folder. Give a KAITO preset (phi-4-mini-instruct), a Hugging Face id (owner/name), or a folder with a model.'),
    (HERE, {'preset': './no-such-model'}, 'tuning.preset.name: "./no-such-model" does not exist, or is no folder. Give the folder with config.json.'),
    (HERE, {'input': 'pvc:claim'}, 'tuning.input.volumeSource: the local backend trains on data of this machine. Give a DataFrame or a file: pandas reads most addresses, for example pd.read_parquet(url).'),
    (HERE, {'input': 'https://example.com/train.csv'}, 'tuning.input.urls: the local backend trains on data of this machine. Give a DataFrame or a file: pandas reads most addresses, for example pd.read_parquet(url).'),
    (HERE, {'preset': '/work', 'target': 'job', 'output': 'pvc:x'}, 'tuning.preset.name: "/work" is a folder of this machine, which a pod does not see. Give a Hugging Face id, or a folder that the pod\'s image or volume holds (below /mnt or /workspace).'),
    (HERE, {'target': 'job'}, 'tuning.output: it is not said where the adapter goes. Give image:REGISTRY/NAME:TAG (an image, with a push secret) or pvc:CLAIM (a volume of the cluster).'),
    (HERE, {'options': {'epoch': 1}}, 'epoch: there is no such option. Did you mean "epochs"?'),
    (HERE, {'options': {'LoraConfg.r': 1}}, 'LoraConfg.r: there is no section "LoraConfg". Did you mean "LoraConfig.r"?'),
    (HERE, {'options': {'Foo.bar': 1}}, 'Foo.bar: there is no section "Foo". The sections are "ModelConfig", "QuantizationConfig", "LoraConfig", "TrainingArguments", "DataCollator", "DatasetConfig" and "TrainerOptions".'),
    (HERE, {'options': {'learning_rate': 'fast'}}, 'TrainingArguments.learning_rate: "fast" is not a number. Give a number above 0.'),
    (HERE, {'options': {'epochs': 0}}, 'TrainingArguments.num_train_epochs: 0 is out of range. Give a number above 0.'),
    (HERE, {'options': {'rank': 'eight'}}, 'LoraConfig.r: "eight" is not a whole number. Give a whole number of at least 1.'),
    (HERE, {'options': {'LoraConfig.lora_alhpa': 3}}, 'LoraConfig.lora_alhpa: there is no such field. Did you mean "lora_alpha"?'),
    (HERE, {'assignments': ['LoraConfig.r']}, '--set: "LoraConfig.r" is no assignment. Write Section.field=value.'),
    (HERE, {'assignments': ['=3']}, '--set: "=3" is no assignment. Write Section.field=value.'),
    (HERE, {'assignments': ['TrainingArgs.max_steps=3']}, 'TrainingArgs.max_steps: there is no section "TrainingArgs". Did you mean "TrainingArguments.max_steps"?'),
    (HERE, {'assignments': ['LoraConfig.r=0']}, 'LoraConfig.r: 0 is out of range. Give a whole number of at least 1.'),
    (HERE, {'assignments': ['TrainingArguments.run_name={']}, "TrainingArguments.run_name: this is no YAML: expected the node content, but found '<stream end>' (line 1, column 2). Correct that line."),
    (HERE, {'config': 'LoraConfig: {r: 8'}, "config: this is no YAML: expected ',' or '}', but got '<stream end>' (line 1, column 18). Correct that line."),
    (HERE, {'config': 'LoraConfig: {r: 8, r: 9}'}, 'config: this is no YAML: "r" is given twice (line 1, column 20). Correct that line.'),
    (HERE, {'config': '- r'}, 'config: [\'r\'] is no configuration. Write sections: "ModelConfig", "QuantizationConfig", "LoraConfig", "TrainingArguments", "DataCollator" and "DatasetConfig".'),
    (HERE, {'config': 'epoch: 3'}, 'epoch: there is no such option. Did you mean "epochs"?'),
    (HERE, {'config': {'training_config': 5}}, 'config.training_config: 5 is no mapping. Write sections below it.'),
    (HERE, {'config': 'TrainingArguments: 5'}, 'config.TrainingArguments: a section holds keys and values, this one is 5. Write it as a mapping, for example TrainingArguments: {output_dir: …}.'),
    (HERE, {'config': 'kind: ConfigMap'}, 'config: the ConfigMap has no training_config.yaml. Put it below data.'),
    (HERE, {'config': {'QuantizationConfig': {'load_in_4bit': True}}}, 'QuantizationConfig.load_in_4bit: true does not go with the method lora. Use the method "qlora", or set it to false.'),
    (HERE, {'method': 'qlora', 'config': {'QuantizationConfig': {'load_in_4bit': False}}}, 'QuantizationConfig: qlora needs quantised weights. Set load_in_4bit: true, or use the method "lora".'),
    (HERE, {'options': {'output_dir': '/tmp/x'}}, 'TrainingArguments.output_dir: "/tmp/x" is not a folder below /mnt. KAITO writes results only there: use /mnt/results.'),
]  # fmt: skip


@pytest.mark.parametrize(("good", "change", "message"), BAD, ids=[m.split(". ")[0][:70] for _, _, m in BAD])
def test_a_mistake_has_its_path_and_message(good, change, message):
    with pytest.raises(SpecError) as raised:
        build_spec(**good | change)
    assert str(raised.value) == message


def test_the_good_ones_are_good():
    assert build_spec(**KAITO).problems("kaito") == []
    assert build_spec(**HERE).problems("local") == []


def test_three_defects_in_one_call_give_three_messages():
    with pytest.raises(SpecError) as raised:
        build_spec(preset="phi4-mini", method="lora8", options={"epoch": 1})
    assert str(raised.value) == (
        "3 problems in the spec:\n"
        '  epoch: there is no such option. Did you mean "epochs"?\n'
        '  tuning.preset.name: "phi4-mini" is no preset, no Hugging Face id and no folder. '
        'Did you mean "phi-4-mini-instruct"?\n'
        '  tuning.method: "lora8" is not a tuning method. Did you mean "lora"? Use "lora" or "qlora".'
    )


def test_what_is_wrong_in_every_place_is_told_at_once(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("LoraConfig: {r: 0}\nFoo: {a: 1}\nepohcs: 2")
    with pytest.raises(SpecError) as raised:
        build_spec(
            **KAITO | {"name": "A", "output": None},
            config=[file, "TrainingArguments: {"],
            options={"learning_rate": "fast", "foo": 1},
            assignments=["LoraConfig.lora_dropout=2", "x"],
        )
    assert [p.path for p in raised.value.problems] == [
        "epohcs",
        "config",
        "foo",
        "--set",
        "--push-secret",
        "metadata.name",
        "tuning.output",
        "config.Foo",
        "LoraConfig.r",
        "LoraConfig.lora_dropout",
        "TrainingArguments.learning_rate",
    ]
