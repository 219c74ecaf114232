"""The CodeGen decoder: shapes, parameters, the pass forwards, the loss."""
