"""DCNv3 as an ONNX function of standard operators, so that a graph needs no plugin to run.

The node `internimage::DCNv3` carries every argument as an attribute; the function refers to them by name. A
runtime that has a DCNv3 kernel may take the node as it is, any other runs the function. Samples are taken
in float32 whatever the type of the graph: a position rounded to float16 misses by pixels on a wide map.
"""

import onnx
import onnx.parser

DOMAIN = "internimage"
NAME = "DCNv3"
OPSET = 18
"""Standard operators the function is written in: GridSample as of 16, axes as inputs as of 18."""

INTEGER_ATTRIBUTES = (
    "kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w",
    "group", "group_channels", "remove_center",
)  # fmt: skip
PLUGIN_ATTRIBUTES = {"plugin_version": "1", "plugin_namespace": ""}
"""What TensorRT looks a plugin up by; from 10.15 on it looks only when the namespace is given."""

# Inside, values are (N*group, channels, H, W) and positions (N*group, points, Ho*Wo, 2): with the points
# before the pixels, the sum over them runs along contiguous memory.
_BODY = """
    kernel_h = Constant <value_int: int = @kernel_h> ()
    kernel_w = Constant <value_int: int = @kernel_w> ()
    stride_h = Constant <value_int: int = @stride_h> ()
    stride_w = Constant <value_int: int = @stride_w> ()
    pad_h = Constant <value_int: int = @pad_h> ()
    pad_w = Constant <value_int: int = @pad_w> ()
    dilation_h = Constant <value_int: int = @dilation_h> ()
    dilation_w = Constant <value_int: int = @dilation_w> ()
    group = Constant <value_int: int = @group> ()
    group_channels = Constant <value_int: int = @group_channels> ()
    removed = Constant <value_int: int = @remove_center> ()
    scale = Constant <value_float: float = @offset_scale> ()
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    list_0 = Constant <value_ints = [0]> ()
    list_1 = Constant <value_ints = [1]> ()
    list_2 = Constant <value_ints = [2]> ()
    list_minus_1 = Constant <value_ints = [-1]> ()
    shape_row = Constant <value_ints = [1, 1, -1]> ()
    shape_column = Constant <value_ints = [1, -1, 1]> ()
    shape_points = Constant <value_ints = [-1, 1, 1]> ()
    float_1 = Constant <value_float = 1.0> ()
    float_2 = Constant <value_float = 2.0> ()

    taps = Mul (kernel_h, kernel_w)
    points = Sub (taps, removed)
    running = Range (zero, points, one)
    last_tap = Sub (taps, one)
    middle_tap = Div (last_tap, two)
    before_middle = Less (running, middle_tap)
    from_middle = Not (before_middle)
    one_later = Cast <to = 7> (from_middle)
    skipped = Mul (one_later, removed)
    tap = Add (running, skipped)
    tap_column = Div (tap, kernel_h)
    tap_row = Mod (tap, kernel_h)

    span_h = Sub (kernel_h, one)
    span_w = Sub (kernel_w, one)
    reach_h = Mul (dilation_h, span_h)
    reach_w = Mul (dilation_w, span_w)
    center_y = Div (reach_h, two)
    center_x = Div (reach_w, two)
    tap_y = Mul (tap_row, dilation_h)
    tap_x = Mul (tap_column, dilation_w)
    grid_y_int = Sub (tap_y, center_y)
    grid_x_int = Sub (tap_x, center_x)
    grid_y_unscaled = Cast <to = 1> (grid_y_int)
    grid_x_unscaled = Cast <to = 1> (grid_x_int)
    grid_y_flat = Mul (grid_y_unscaled, scale)
    grid_x_flat = Mul (grid_x_unscaled, scale)
    grid_y = Reshape (grid_y_flat, shape_points)
    grid_x = Reshape (grid_x_flat, shape_points)

    out_h = Shape <start = 1, end = 2> (offset)
    out_w = Shape <start = 2, end = 3> (offset)
    out_h_number = Squeeze (out_h)
    out_w_number = Squeeze (out_w)
    rows = Range (zero, out_h_number, one)
    columns = Range (zero, out_w_number, one)
    rows_strided = Mul (rows, stride_h)
    columns_strided = Mul (columns, stride_w)
    first_y = Sub (center_y, pad_h)
    first_x = Sub (center_x, pad_w)
    rows_int = Add (rows_strided, first_y)
    columns_int = Add (columns_strided, first_x)
    rows_flat = Cast <to = 1> (rows_int)
    columns_flat = Cast <to = 1> (columns_int)
    rows_float = Reshape (rows_flat, shape_column)
    columns_float = Reshape (columns_flat, shape_row)
    y_rows = Add (grid_y, rows_float)
    x_columns = Add (grid_x, columns_float)
    points_list = Reshape (points, list_1)
    full = Concat <axis = 0> (points_list, out_h, out_w)
    y_map = Expand (y_rows, full)
    x_map = Expand (x_columns, full)
    pixels = Mul (out_h, out_w)
    flat = Concat <axis = 0> (points_list, pixels, list_1)
    y_flat = Reshape (y_map, flat)
    x_flat = Reshape (x_map, flat)
    base = Concat <axis = 2> (x_flat, y_flat)

    height = Shape <start = 1, end = 2> (input)
    width = Shape <start = 2, end = 3> (input)
    size_int = Concat <axis = 0> (width, height)
    size = Cast <to = 1> (size_int)
    base_twice = Mul (base, float_2)
    base_edge = Add (base_twice, float_1)
    base_unit = Div (base_edge, size)
    base_grid = Sub (base_unit, float_1)
    step_twice = Mul (scale, float_2)
    step = Div (step_twice, size)

    batch = Shape <start = 0, end = 1> (input)
    group_list = Reshape (group, list_1)
    channels_list = Reshape (group_channels, list_1)
    offset_float = Cast <to = 1> (offset)
    offset_shape = Concat <axis = 0> (batch, pixels, group_list, points_list, list_2)
    offset_split = Reshape (offset_float, offset_shape)
    offset_ordered = Transpose <perm = [0, 2, 3, 1, 4]> (offset_split)
    offset_merged_shape = Concat <axis = 0> (list_minus_1, points_list, pixels, list_2)
    offset_merged = Reshape (offset_ordered, offset_merged_shape)
    offset_grid = Mul (offset_merged, step)
    grid = Add (offset_grid, base_grid)

    value_float = Cast <to = 1> (input)
    value_shape = Concat <axis = 0> (batch, height, width, group_list, channels_list)
    value_split = Reshape (value_float, value_shape)
    value_ordered = Transpose <perm = [0, 3, 4, 1, 2]> (value_split)
    value_merged_shape = Concat <axis = 0> (list_minus_1, channels_list, height, width)
    value = Reshape (value_ordered, value_merged_shape)
    samples = GridSample <mode = "bilinear", padding_mode = "zeros", align_corners = 0> (value, grid)

    mask_float = Cast <to = 1> (mask)
    mask_shape = Concat <axis = 0> (batch, pixels, group_list, points_list)
    mask_split = Reshape (mask_float, mask_shape)
    mask_ordered = Transpose <perm = [0, 2, 3, 1]> (mask_split)
    mask_merged_shape = Concat <axis = 0> (list_minus_1, list_1, points_list, pixels)
    mask_merged = Reshape (mask_ordered, mask_merged_shape)
    weighted = Mul (samples, mask_merged)
    summed = ReduceSum <keepdims = 0> (weighted, list_2)

    channels = Mul (group_list, channels_list)
    summed_shape = Concat <axis = 0> (batch, channels, out_h, out_w)
    channels_first = Reshape (summed, summed_shape)
    output_float = Transpose <perm = [0, 2, 3, 1]> (channels_first)
    output = CastLike (output_float, input)
"""


def register_schema() -> None:
    """Tell the onnx package the node's signature, which its exporter and checker ask for."""
    if onnx.defs.has(NAME, 1, DOMAIN):
        return
    schema = onnx.defs.OpSchema
    kinds = schema.AttrType
    onnx.defs.register_schema(
        schema(
            NAME,
            DOMAIN,
            1,
            inputs=[schema.FormalParameter(name, "T") for name in ("input", "offset", "mask")],
            outputs=[schema.FormalParameter("output", "T")],
            type_constraints=[("T", ["tensor(float)", "tensor(float16)"], "")],
            attributes=[
                *(schema.Attribute(name, kinds.INT, required=True) for name in INTEGER_ATTRIBUTES),
                schema.Attribute("offset_scale", kinds.FLOAT, required=True),
                *(schema.Attribute(name, kinds.STRING, required=False) for name in PLUGIN_ATTRIBUTES),
            ],
        )
    )


def dcnv3_function() -> onnx.FunctionProto:
    """Return the function `internimage::DCNv3(input, offset, mask) -> output`, channels last."""
    attributes = ", ".join((*INTEGER_ATTRIBUTES, "offset_scale", *PLUGIN_ATTRIBUTES))
    return onnx.parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}]>\n'
        f"{NAME} <{attributes}> (input, offset, mask) => (output)\n{{{_BODY}}}"
    )


def dcnv3_attributes(
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    group: int,
    group_channels: int,
    offset_scale: float,
    remove_center: bool,
) -> dict[str, int | float | str]:
    """Return the node's attributes for the arguments of `ops.dcnv3`, given as (height, width) pairs."""
    pairs = {"kernel": kernel_size, "stride": stride, "pad": padding, "dilation": dilation}
    integers = {f"{name}_{axis}": pair[k] for name, pair in pairs.items() for k, axis in enumerate("hw")}
    return {
        **integers,
        "group": group,
        "group_channels": group_channels,
        "remove_center": int(remove_center),
        "offset_scale": offset_scale,
        **PLUGIN_ATTRIBUTES,
    }
