"""JAX: an LSTM as one writes it there: the projection of all steps first, then lax.scan, jitted."""

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import protocol
from cases import layer, train_outputs


def lstm(x, kernel, recurrent_kernel, bias, h0, c0):
    """x (T, B, I): time-major is what scan takes."""

    def step(state, z):
        h, c = state
        i, f, g, o = jnp.split(z + h @ recurrent_kernel, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    (h, c), y = jax.lax.scan(step, (h0, c0), x @ kernel + bias)
    return y, h, c


@jax.jit
def train(arguments, dy):
    y, pull = jax.vjp(lambda *a: lstm(*a)[0], *arguments)
    return y, pull(dy)


forward = jax.jit(lstm)


def build(case):
    if case["task"] == "fit" or case.get("lengths"):
        return None
    a = layer(case)
    swapped = lambda array: np.ascontiguousarray(np.swapaxes(array, 0, 1))  # noqa: E731
    arguments = [jnp.asarray(array) for array in (swapped(a.x), *a[1:6])]
    if case["task"] == "forward":
        return protocol.Job(lambda: jax.block_until_ready(forward(*arguments)), lambda r: {
            "y": swapped(r[0]), "h": r[1], "c": r[2]})  # fmt: skip
    dy = jnp.asarray(swapped(a.dy))
    return protocol.Job(
        lambda: jax.block_until_ready(train(arguments, dy)),
        lambda r: train_outputs(swapped(r[0]), swapped(r[1][0]), *r[1][1:]),
    )


if __name__ == "__main__":
    protocol.serve(build, {"jax": jax.__version__, "jaxlib": jaxlib.__version__})
