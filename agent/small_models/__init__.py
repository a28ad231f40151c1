"""The bundled model, and compact forms of the roles that a small model can fill in."""
