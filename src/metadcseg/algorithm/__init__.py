"""The paper: its equations as functions of tensors, without files, logging, configuration or devices."""
