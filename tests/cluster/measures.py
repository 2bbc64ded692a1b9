"""Of the lab's sweep: goes along to the cluster."""


def embedding_norm(trained):
    return trained.parameters["token_embedding"].norm()
