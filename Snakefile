from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"


# The demo with everything that `conceptreel summary` tells of it.
rule all:
    default_target: True
    input:
        "results/demo/model.pt",
        "results/demo/explain/explanations.png",
        "results/demo/demo/evaluation.parquet",
