"""The published rules of other tools, each a pure function from a record to labels.

A rule that fires without one of our labels gives `other`. A name that could mean several of our
labels gives all of them, and any right label counts. An empty set means healthy.

Left out: Cockpit (Schneider et al. 2021), which draws and does not judge; rules on data, on
overfitting, and on the network's output layer, which gradlab has no opinion on.
"""

from collections.abc import Callable

from diagnosis.record import Record
from diagnosis.rivals.autotrainer import autotrainer
from diagnosis.rivals.deepchecker import deepchecker
from diagnosis.rivals.deepdiagnosis import deepdiagnosis
from diagnosis.rivals.sagemaker import sagemaker, sagemaker_with_initialisation
from diagnosis.rivals.torchmortem import torchmortem, torchmortem_critical

RIVALS: dict[str, Callable[[Record], set[str]]] = {
    "SageMaker": sagemaker,
    "SageMaker+init": sagemaker_with_initialisation,
    "AutoTrainer": autotrainer,
    "DeepDiagnosis": deepdiagnosis,
    "TheDeepChecker": deepchecker,
    "torchmortem": torchmortem,
    "...critical": torchmortem_critical,
}
