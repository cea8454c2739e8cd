"""Normalisations and reductions: harmless within a channel, pinning where they mix channels."""

from typing import Any

from torch import Tensor

from prunus.model.channels.arrays import changing_dimensions
from prunus.model.channels.call import Call
from prunus.model.channels.tracer import Tracer


def batch_norm(tracer: Tracer, call: Call) -> list[Tensor | None]:
    """Give scale, offset and statistics to their channels, which pass."""
    image = call.tensor("input")
    channels = tracer.vector(image, 1, "channels lie where batch norm expects pixels")
    tracer.attach(call.optional("weight"), channels, "scale")
    tracer.attach(call.optional("bias"), channels, "offset")
    mean = call.optional("running_mean")
    tracer.attach(mean, channels, "statistic")
    tracer.attach(call.optional("running_var"), channels, "statistic")
    maker, statistic = tracer.maker(image), tracer.leaf(mean)
    if maker is not None and statistic is not None:
        tracer.norms.setdefault(maker, statistic.name)
    return [tracer.tags(image)]


def group_norm(tracer: Tracer, call: Call) -> list[Tensor | None]:
    """Normalise each channel alone (as many groups as channels), or mix and pin them."""
    image = call.tensor("input")
    channels = tracer.vector(image, 1, "channels lie where group norm expects pixels")
    if call.integer("group") != image.size(1):
        tracer.pin(channels, "normalised together with other channels")
    tracer.attach(call.optional("weight"), channels, "scale")
    tracer.attach(call.optional("bias"), channels, "offset")
    return [tracer.tags(image)]


def layer_norm(tracer: Tracer, call: Call) -> list[Tensor | None]:
    """Normalise over the last dimensions; channels that lie there are mixed and pinned."""
    image = call.tensor("input")
    tags = tracer.tags(image)
    if tags is None:
        return [None]
    shape: Any = call.arguments["normalized_shape"]
    mixed = range(image.ndim - len(shape), image.ndim)
    if set(mixed) & set(changing_dimensions(tags)):
        tracer.pin(tags, "normalised together with other channels")
        if len(shape) == 1:
            channels = tracer.vector(image, -1, "normalised together with other channels")
            tracer.attach(call.optional("weight"), channels, "scale")
            tracer.attach(call.optional("bias"), channels, "offset")
    return [tags]


def reduce(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """Sum, average or take the largest over some dimensions; over the channels that pins them."""
    source = call.tensor("self")
    tags = tracer.tags(source)
    if tags is None:
        return None
    reduced = _dimensions(call, source)
    if reduced & set(changing_dimensions(tags)):
        tracer.pin(tags, "summed up with other channels")
        return None
    keeps = call.output().ndim == source.ndim
    for dimension in sorted(reduced, reverse=True):
        tags = tags.narrow(dimension, 0, 1) if keeps else tags.select(dimension, 0)
    return [tags] * (len(call.result) if isinstance(call.result, (tuple, list)) else 1)


def sweep(tracer: Tracer, call: Call) -> list[Tensor] | None:
    """Softmax, sort, running sums: the values along one dimension depend on one another."""
    source = call.tensor("self")
    tags = tracer.tags(source)
    if tags is None:
        return None
    dimension = call.integer("dim") % max(source.ndim, 1)
    if dimension in changing_dimensions(tags):
        tracer.pin(tags, "depends on the other channels")
        return None
    results = call.result if isinstance(call.result, (tuple, list)) else (call.result,)
    return [tags.narrow(dimension, 0, 1).expand(result.shape) for result in results]


def gated(tracer: Tracer, call: Call) -> Tensor | None:
    """GLU: the two halves are multiplied, so their channels are tied."""
    source = call.tensor("self")
    tags = tracer.tags(source)
    if tags is None:
        return None
    first, second = tags.chunk(2, call.integer("dim"))
    tracer.unite(first, second, "gated by a constant")
    return first


def opaque(tracer: Tracer, call: Call) -> None:
    """Pin all that an operation reads which mixes its values in a way of its own."""
    for tensor in call.every_tensor():
        tags = tracer.tags(tensor)
        if tags is not None:
            tracer.pin(tags, f"mixed by {call.name.removeprefix('aten.')}")


def ignore(_tracer: Tracer, _call: Call) -> None:
    """A check: it makes nothing."""


def read(tracer: Tracer, call: Call) -> None:
    """Pin what Python reads as a number: what it does with it cannot be seen."""
    tags = tracer.tags(call.tensor("self"))
    if tags is not None:
        tracer.pin(tags, "read as a number by the model's own code")


def _dimensions(call: Call, source: Tensor) -> set[int]:
    given: Any = call.arguments.get("dim")
    if isinstance(given, int):
        given = [given]
    if not given:
        return set(range(source.ndim))
    return {dimension % source.ndim for dimension in given}


REDUCTIONS = (
    "all amax amin aminmax any argmax argmin count_nonzero kthvalue linalg_vector_norm logsumexp "
    "max mean median min mode nanmedian nansum norm prod std std_mean sum var var_mean"
)
SWEEPS = (
    "argsort cummax cummin cumprod cumsum _log_softmax logcumsumexp _safe_softmax _softmax sort "
    "topk"
)
OPAQUE = (
    "addmv addr affine_grid_generator bincount block_diag bucketize cdist _cdist_forward complex "
    "conv_tbc _ctc_loss _cudnn_rnn diag_embed dist dot equal _euclidean_dist _fft_c2c _fft_c2r "
    "_fft_r2c gru histc inverse isin kron linalg_cross linalg_eigh linalg_inv_ex linalg_qr "
    "linalg_solve _linalg_svd lstm masked_select mkldnn_rnn_layer multinomial mv "
    "_native_multi_head_attention nonzero _pdist_forward renorm repeat_interleave resize "
    "searchsorted _thnn_fused_gru_cell _thnn_fused_lstm_cell _transformer_encoder_layer_fwd "
    "_trilinear _unique2 unique_dim vdot view_as_complex view_as_real _weight_norm_interface"
)
CHECKS = "_assert_async _assert_scalar _assert_tensor_metadata"
