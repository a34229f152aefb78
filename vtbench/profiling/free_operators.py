"""Operators that cost no multiply-accumulate by the field's convention, each family with its reason.

A product whose elements are summed is a multiply-accumulate all the same; `contractions` looks for those. Names are
those of ``torch.ops``; a trailing underscore (in place) is left out unless it belongs to the name.
"""

from __future__ import annotations

ELEMENTWISE = "one value out for one value in: no accumulation"
ACTIVATION = "activation function: not counted by the field"
BATCH_NORMALIZATION = "normalisation: not counted by the field, and folded into the convolution before it at inference"
NORMALIZATION = "normalisation: not counted by the field"
REDUCTION = "sum, maximum or average of values: additions only"
POOLING = "pooling: not counted by the field"
INTERPOLATION = "interpolation between neighbours with fixed rules: not counted by the field"
MOVEMENT = "moves, copies, pads or gathers values"
VIEW = "another view of the same memory"
CREATION = "creates or fills a tensor"
RANDOM = "draws random numbers, or drops values at random"
INDEXING = "compares, sorts, selects or counts"
INFORMATION = "reads a property of a tensor"
LOSS = "a loss: elementwise, then a mean"

_FAMILIES: dict[str, str] = {
    ELEMENTWISE: """
        abs add addcdiv addcmul acos acosh angle asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not
        bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip complex conj conj_physical
        copysign cos cosh deg2rad digamma div divide erf erfc erfinv exp exp2 expm1 floor floor_divide fmax fmin fmod
        frac i0 lerp lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor
        logit maximum minimum mul multiply nan_to_num neg negative polygamma positive pow float_power rad2deg real
        reciprocal remainder round rsqrt rsub sgn sign signbit sin sinc sinh special_entr special_erfcx special_i0e
        special_i1 special_i1e special_log_ndtr special_ndtr special_ndtri special_xlog1py special_zeta sqrt square sub
        subtract tan tanh_backward true_divide trunc xlogy ldexp mvlgamma hypot heaviside polar view_as_complex
        view_as_real __and__ __or__ __xor__ __lshift__ __rshift__ where masked_fill __iand__ __ior__ __ixor__
        fake_quantize_per_tensor_affine cumprod cross linalg_cross """,
    ACTIVATION: """
        celu elu gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid_forward mish prelu
        _prelu_kernel relu relu6 rrelu_with_noise rrelu_with_noise_functional selu sigmoid silu softplus softshrink tanh
        threshold _softmax _log_softmax _safe_softmax softmax log_softmax special_softmax _masked_softmax
        _sparse_softmax elu_backward gelu_backward glu_backward hardshrink_backward hardsigmoid_backward
        hardswish_backward hardtanh_backward leaky_relu_backward log_sigmoid_backward mish_backward
        _prelu_kernel_backward sigmoid_backward silu_backward softplus_backward softshrink_backward threshold_backward
        _softmax_backward_data _log_softmax_backward_data infinitely_differentiable_gelu_backward
        rrelu_with_noise_backward logit_backward _thnn_fused_lstm_cell _thnn_fused_gru_cell
        _thnn_fused_lstm_cell_backward_impl _thnn_fused_gru_cell_backward """,
    BATCH_NORMALIZATION: """
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
        _native_batch_norm_legit_functional _batch_norm_with_update _batch_norm_with_update_functional
        _batch_norm_no_update cudnn_batch_norm miopen_batch_norm batch_norm_stats batch_norm_elemt
        batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_update_stats
        native_batch_norm_backward batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward
        batch_norm_backward_reduce batch_norm_backward_elemt """,
    NORMALIZATION: """
        native_layer_norm native_group_norm _fused_rms_norm rms_norm linalg_vector_norm norm renorm var var_mean
        std std_mean native_layer_norm_backward native_group_norm_backward _fused_rms_norm_backward
        _weight_norm_interface _weight_norm_interface_backward """,
    REDUCTION: """
        sum mean nansum nanmean cumsum logsumexp logcumsumexp amax amin aminmax max min prod all any median nanmedian
        quantile nanquantile _logcumsumexp cummax cummin _cummax_helper _cummin_helper trace segment_reduce """,
    POOLING: """
        max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d
        avg_pool3d adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool2d
        adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d
        fractional_max_pool3d max_unpool2d max_unpool3d mkldnn_max_pool2d quantized_max_pool2d
        max_pool2d_with_indices_backward max_pool3d_with_indices_backward avg_pool2d_backward avg_pool3d_backward
        _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_max_pool2d_backward
        adaptive_max_pool3d_backward fractional_max_pool2d_backward """,
    INTERPOLATION: """
        upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback
        cudnn_grid_sampler affine_grid_generator upsample_nearest1d_backward upsample_nearest2d_backward
        upsample_nearest3d_backward upsample_linear1d_backward upsample_bilinear2d_backward
        upsample_bicubic2d_backward upsample_trilinear3d_backward _upsample_nearest_exact2d_backward
        _upsample_bilinear2d_aa_backward _upsample_bicubic2d_aa_backward grid_sampler_2d_backward
        grid_sampler_3d_backward cudnn_grid_sampler_backward """,
    MOVEMENT: """
        cat concat stack hstack vstack clone contiguous copy _copy_from _to_copy to repeat repeat_interleave roll flip
        fliplr flipud rot90 index gather scatter scatter_add scatter_reduce index_select index_add index_copy index_put
        _index_put_impl _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate
        masked_select masked_scatter select_scatter slice_scatter diagonal_scatter as_strided_scatter take
        constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
        take_along_dim
        replication_pad3d _pad_circular pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col
        col2im unfold_backward embedding embedding_dense_backward embedding_renorm tril triu diag diag_embed block_diag
        select_copy slice_copy squeeze_copy unsqueeze_copy detach_copy alias_copy diagonal_copy unfold_copy
        as_strided_copy split_copy _reshape_alias_copy
        _reshape_copy expand_copy view_copy permute_copy slice_backward select_backward index_select_backward
        reflection_pad1d_backward reflection_pad2d_backward replication_pad1d_backward replication_pad2d_backward
        masked_scatter_backward diagonal_backward _pin_memory pin_memory unsafe_chunk unsafe_split
        unsafe_split_with_sizes split_with_sizes_copy unbind_copy t_copy transpose_copy meshgrid
        quantize_per_tensor quantize_per_tensor_dynamic quantize_per_channel dequantize int_repr
        _nested_tensor_from_mask _pad_packed_sequence _pack_padded_sequence trapezoid value_selecting_reduction_backward
        _segment_reduce_backward """,
    VIEW: """
        view _unsafe_view reshape _reshape_alias as_strided expand permute transpose t squeeze unsqueeze select slice
        narrow split split_with_sizes chunk unbind unfold detach alias diagonal movedim swapaxes swapdims adjoint
        lift_fresh lift _conj _neg_view resolve_conj resolve_neg view_as expand_as flatten unflatten imag
        set_data resize _resize_output result_type """,
    CREATION: """
        empty empty_like empty_strided new_empty new_empty_strided empty_permuted zeros zeros_like new_zeros ones
        ones_like new_ones full full_like new_full fill zero arange linspace logspace eye scalar_tensor tril_indices
        triu_indices hann_window set _efficientzerotensor _cudnn_init_dropout_state one_hot vander """,
    RANDOM: """
        native_dropout native_dropout_backward dropout feature_dropout alpha_dropout _fused_dropout bernoulli rand
        rand_like randn randn_like randint randint_like randperm uniform normal normal_functional exponential
        multinomial random geometric log_normal cauchy poisson """,
    INDEXING: """
        eq ne lt le gt ge equal isnan isinf isfinite isposinf isneginf isin isclose allclose argmax argmin argsort sort
        topk kthvalue mode searchsorted bucketize bincount histc nonzero nonzero_static unique_dim _unique2
        unique_consecutive logical_and count_nonzero msort """,
    INFORMATION: """
        _local_scalar_dense item is_nonzero sym_size sym_stride sym_numel sym_storage_offset dim size stride numel
        q_scale q_zero_point q_per_channel_scales q_per_channel_zero_points q_per_channel_axis qscheme
        is_same_size is_pinned _has_compatible_shallow_copy_type _assert_async _assert_scalar _assert_tensor_metadata
        _nested_tensor_size is_floating_point is_complex _is_all_true _is_any_true """,
    LOSS: """
        nll_loss_forward nll_loss2d_forward nll_loss_backward nll_loss2d_backward mse_loss mse_loss_backward
        smooth_l1_loss smooth_l1_loss_backward binary_cross_entropy binary_cross_entropy_backward
        binary_cross_entropy_with_logits kl_div huber_loss """,
}

_ONLY_OTHER_LIBRARIES = {
    "torchvision::nms": INDEXING,
    "torchvision::roi_align": INTERPOLATION,
    "torchvision::_roi_align_backward": INTERPOLATION,
    "torchvision::_ps_roi_align_backward": INTERPOLATION,
    "torchvision::_roi_pool_backward": POOLING,
    "torchvision::_ps_roi_pool_backward": POOLING,
    "torchvision::roi_pool": POOLING,
    "torchvision::ps_roi_align": INTERPOLATION,
    "torchvision::ps_roi_pool": POOLING,
    **dict.fromkeys(("quantized::add", "quantized::add_relu", "quantized::mul", "quantized::leaky_relu"), ELEMENTWISE),
    "quantized::batch_norm2d": BATCH_NORMALIZATION,
    **dict.fromkeys(("quantized::layer_norm", "quantized::instance_norm"), NORMALIZATION),
    **dict.fromkeys(("quantized::hardswish", "quantized::sigmoid", "quantized::prelu", "quantized::elu"), ACTIVATION),
    "quantized::cat": MOVEMENT,
    "prims::convert_element_type": MOVEMENT,
    "prims::device_put": MOVEMENT,
}

FREE: dict[str, str] = {
    f"aten::{name}": reason for reason, names in _FAMILIES.items() for name in names.split()
} | _ONLY_OTHER_LIBRARIES
"""Operator name -> why it is free."""

REFUSED: dict[str, str] = {
    f"aten::{name}": reason
    for reason, names in {
        "a fast Fourier transform does a number of multiplications that depends on the algorithm": """
            _fft_r2c _fft_c2r _fft_c2c""",
        "an iterative matrix decomposition does a number of multiplications that depends on the values": """
            _linalg_svd _linalg_eigh linalg_eig linalg_eigvals linalg_qr linalg_lstsq _linalg_slogdet linalg_pinv
            linalg_matrix_exp""",
        "a triangular or dense solve has no agreed count of multiply-accumulates": """
            linalg_cholesky_ex linalg_inv_ex linalg_solve_triangular triangular_solve _linalg_solve_ex
            linalg_lu linalg_lu_factor_ex _linalg_det cholesky_solve cholesky_inverse""",
        "a product with a sparse tensor depends on how many values are set": "_sparse_mm _sparse_addmm",
    }.items()
    for name in names.split()
}
"""Operators that multiply and accumulate, but not a number of times that shapes could tell."""


def find_reason_free(operator: str) -> str | None:
    """The reason why ``operator`` is free, or None. An in-place operator is as free as the one it is a form of."""
    reason = FREE.get(operator)
    if reason is None and operator.endswith("_") and not operator.endswith("__"):
        reason = FREE.get(operator.removesuffix("_"))
    return reason
