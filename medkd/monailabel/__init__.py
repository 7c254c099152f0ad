"""A MONAI Label app for medkd's bundles; imported by a server, in the server's own environment (``medkd label-env``)."""
