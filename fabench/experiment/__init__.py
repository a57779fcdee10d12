"""The training side of the small experiments: one module per experiment, named as in `fabench.trials`, each with its trial."""
