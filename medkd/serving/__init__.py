"""A trained bundle on a MONAI Label server: checked, put in place, and the server's own environment."""

from medkd.serving.checks import deployment_problems
from medkd.serving.environment import make_label_environment
from medkd.serving.place import Deployment, deploy, deploy_model, keep_student, rollback

__all__ = [
    "Deployment",
    "deploy",
    "deploy_model",
    "deployment_problems",
    "keep_student",
    "make_label_environment",
    "rollback",
]
