from __future__ import annotations
import pytest, torch
from basicsr.spectral import transforms
from golden_cases import load_case
CALLS=[(c,k) for c in ("spec_basic","spec_transform","spec_transform_after_mean","spec_reduced_transform","spec_mask_out") for k in load_case(c).config["calls"]]
FN={"spec_transform":"spectrum_transform","spec_transform_after_mean":"spectrum_transform_after_mean","spec_reduced_transform":"reduced_spectrum_transform","spec_mask_out":"mask_out"}
@pytest.mark.parametrize("c,k",CALLS)
def test_golden(c,k):
    case=load_case(c); call=case.config["calls"][k]
    if c=="spec_basic": fn,kw,inp=call["function"],call["kwargs"],call["input"]
    else:
        fn=FN[c]; kw={a:b for a,b in call.items() if a!="input"}; inp=call.get("input","in.x")
    y=getattr(transforms,fn)(case.tensor(inp),**kw)
    case.check(y,k)
