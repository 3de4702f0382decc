"""The training of a project as the configuration of another engine, and what that cannot say."""
