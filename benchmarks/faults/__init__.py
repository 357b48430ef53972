"""File operations in the sandboxes of the doctor."""
