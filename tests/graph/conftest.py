from hypothesis import settings

# A busy machine must not fail a property by being slow; time limits have tests of their own.
settings.register_profile("dagger_edge", deadline=None)
settings.load_profile("dagger_edge")
