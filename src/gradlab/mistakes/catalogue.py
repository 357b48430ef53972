"""All mistakes: in the model, in its data, in the loss, in the backward pass, in the update."""

from gradlab.mistakes.cases import (
    clip_after_step,
    clip_before_backward,
    clip_before_unscale,
    data_in_path,
    detach_in_path,
    frozen_layer,
    in_place_change,
    item_in_path,
    layer_replaced,
    missing_parameters,
    no_zero_grad,
    plain_list,
    softmax_before_cross_entropy,
    zero_grad_too_late,
)
from gradlab.mistakes.mistake import Mistake

CATALOGUE: tuple[Mistake, ...] = (
    missing_parameters.MISTAKE,
    layer_replaced.MISTAKE,
    plain_list.MISTAKE,
    frozen_layer.MISTAKE,
    softmax_before_cross_entropy.MISTAKE,
    no_zero_grad.MISTAKE,
    zero_grad_too_late.MISTAKE,
    detach_in_path.MISTAKE,
    item_in_path.MISTAKE,
    data_in_path.MISTAKE,
    in_place_change.MISTAKE,
    clip_before_backward.MISTAKE,
    clip_after_step.MISTAKE,
    clip_before_unscale.MISTAKE,
)
