# One rule per stage. What a stage reads, writes and asks for is declared next to its code, in pipeline/*/stages.py and
# pipeline/methods/*/stages.py; `conceptreel stages NAME` prints it.
ENVIRONMENT = braces_doubled(os.path.join(workflow.basedir, "envs", "conceptreel.yaml"))

for declared in STAGES.values():
    if declared.generates or declared.looked_up:
        continue

    rule:
        name:
            declared.name
        input:
            **RULES.inputs(declared),
        output:
            **RULES.outputs(declared, mark=report),
        log:
            f"results/{{dataset}}/{declared.log}",
        priority: declared.priority
        conda:
            ENVIRONMENT
        threads: RULES.threads(declared)
        resources:
            mem_mb=RULES.doubling(declared.memory_mb),
            runtime=RULES.minutes(declared),
            gpu=RULES.gpus(declared),
        params:
            settings=RULES.settings(declared),
            followed=RULES.followed(declared),
            code=RULES.code(declared),
            module=declared.module,
            arguments=RULES.arguments(declared),
        shell:
            "python -m {params.module} --dataset {wildcards.dataset} --settings {params.settings:q} --threads {threads}"
            " --mem-mb {resources.mem_mb} --minutes {resources.runtime} --log {log:q} {params.arguments:q}"


# Snakemake looks for changed parameters only in jobs that wait for no other job; after a checkpoint it looks again, so
# that the shard of an added video reruns in the same invocation.
for declared in STAGES.values():
    if not declared.looked_up:
        continue

    checkpoint:
        name:
            declared.name
        input:
            **RULES.inputs(declared),
        output:
            **RULES.outputs(declared),
        log:
            f"results/{{dataset}}/{declared.log}",
        priority: declared.priority
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=RULES.doubling(declared.memory_mb),
            runtime=RULES.minutes(declared),
        params:
            settings=RULES.settings(declared),
            followed=RULES.followed(declared),
            code=RULES.code(declared),
            module=declared.module,
            arguments=RULES.arguments(declared),
        shell:
            "python -m {params.module} --dataset {wildcards.dataset} --settings {params.settings:q} --threads {threads}"
            " --mem-mb {resources.mem_mb} --minutes {resources.runtime} --log {log:q} {params.arguments:q}"


# Which videos there are to make is known per data set, so each has a rule.
for declared, name in RULES.makers():

    rule:
        name:
            f"{declared.name}_{name}"
        output:
            **RULES.outputs(declared, name),
        log:
            f"results/{name}/{declared.log}",
        conda:
            ENVIRONMENT
        threads: RULES.threads(declared)
        resources:
            mem_mb=RULES.doubling(declared.memory_mb),
            runtime=RULES.doubling(declared.minutes),
        params:
            settings=settings_json(CONFIG.datasets[name], declared.name),
            code=RULES.code(declared),
            module=declared.module,
            dataset=name,
            arguments=RULES.arguments(declared, name),
        shell:
            "python -m {params.module} --dataset {params.dataset} --settings {params.settings:q} --threads {threads}"
            " --mem-mb {resources.mem_mb} --minutes {resources.runtime} --log {log:q} {params.arguments:q}"


# A method's model under a short name, such as results/graphs_demo/proda.pt.
rule model_of_method:
    input:
        "results/{dataset}/{method}/model.pt",
    output:
        "results/{dataset}/{method}.pt",
    log:
        "results/{dataset}/logs/model_of_method/{method}.log",
    wildcard_constraints:
        method="|".join(method.name for method in METHODS.values() if method.place),
    conda:
        ENVIRONMENT
    shell:
        "ln -sf {wildcards.method}/model.pt {output} 2> {log}"
