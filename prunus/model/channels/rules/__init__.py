"""The table of rules: what each primitive operation does to channels.

A new operation is one function `rule(tracer, call)` in this folder and its line in RULES. It
returns the tags of the result (an array of its shape; a list for several results; None where the
result belongs to no channel), and ties, pins or fills slots through the tracer on the way. In-place
and out-variants share the rule of the plain operation.
"""

from collections.abc import Callable, Mapping, Sequence

from prunus.model.channels.call import Call
from prunus.model.channels.rules import elementwise, layers, mixing, movement, writing
from prunus.model.channels.rules.spatial import (
    OVER_1D,
    OVER_2D,
    OVER_3D,
    sampled,
    spatial,
    unpooled,
)
from prunus.model.channels.tracer import Bound, Tracer

Rule = Callable[[Tracer, Call], Bound | Sequence[Bound | None] | None]


def _each(names: str, rule: Rule) -> dict[str, Rule]:
    return {f"aten.{name}": rule for name in names.split()}


RULES: Mapping[str, Rule] = {
    **_each(elementwise.COPIES, elementwise.copy),
    **_each(elementwise.UNARY, elementwise.same),
    **_each(elementwise.FILLS, elementwise.same),
    **_each(elementwise.NARY, elementwise.combine),
    **_each(elementwise.FRESH, elementwise.fresh),
    **_each("copy", writing.copy_into),
    **_each(writing.PLACES, writing.place),
    **_each("convolution", layers.convolution),
    **_each("linear", layers.linear),
    **_each("mm addmm bmm baddbmm", layers.matrix_product),
    **_each("embedding", layers.embedding),
    **_each(
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_fused_attention_overrideable",
        layers.attention,
    ),
    **_each(
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
        "_batch_norm_with_update _batch_norm_no_update cudnn_batch_norm miopen_batch_norm",
        mixing.batch_norm,
    ),
    **_each("native_group_norm", mixing.group_norm),
    **_each("native_layer_norm _fused_rms_norm rms_norm", mixing.layer_norm),
    **_each(mixing.REDUCTIONS, mixing.reduce),
    **_each(mixing.SWEEPS, mixing.sweep),
    **_each("glu", mixing.gated),
    **_each("_local_scalar_dense", mixing.read),
    **_each(mixing.OPAQUE, mixing.opaque),
    **_each(mixing.CHECKS, mixing.ignore),
    **_each("view _unsafe_view _reshape_alias reshape", movement.view),
    **_each("t transpose permute", movement.turn),
    **_each("expand repeat squeeze unsqueeze pixel_unshuffle", movement.move),
    **_each("cat stack", movement.join),
    **_each(
        "slice select unbind index _unsafe_index index_select gather unfold diagonal", movement.part
    ),
    **_each("roll flip rot90", movement.rearrange),
    **_each("split split_with_sizes unsafe_split unsafe_split_with_sizes", movement.split),
    **_each("channel_shuffle native_channel_shuffle", movement.shuffle),
    **_each("im2col", movement.unfold),
    **_each("col2im", movement.fold),
    **_each("tril triu", movement.triangle),
    **_each("as_strided", movement.restride),
    **_each("constant_pad_nd", movement.pad),
    **_each("pixel_shuffle", movement.interleave),
    **_each(OVER_1D, spatial(1)),
    **_each(OVER_2D, spatial(2)),
    **_each(OVER_3D, spatial(3)),
    **_each("grid_sampler_2d", sampled(2)),
    **_each("grid_sampler_3d", sampled(3)),
    **_each("max_unpool2d", unpooled(2)),
    **_each("max_unpool3d", unpooled(3)),
}
